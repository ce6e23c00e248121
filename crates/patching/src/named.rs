//! Enums that are names: of what can be chosen on the command line, and stands in tables.

/// An enum whose values have one name each, the same in help, files and tables. Given: the enum, what it is called
/// in the error for a name that means nothing, and the case of its names.
macro_rules! named {
    ($(#[$attribute:meta])* pub enum $name:ident($what:literal, $case:tt) { $($body:tt)* }) => {
        $(#[$attribute])*
        #[derive(
            Debug,
            Clone,
            Copy,
            PartialEq,
            Eq,
            Hash,
            PartialOrd,
            Ord,
            serde::Serialize,
            serde::Deserialize,
            strum::Display,
            strum::EnumMessage,
            strum::EnumString,
            strum::IntoStaticStr,
            strum::VariantArray,
            strum::VariantNames,
        )]
        #[serde(rename_all = $case)]
        #[strum(serialize_all = $case, parse_err_ty = crate::error::Error, parse_err_fn = $name::unknown)]
        pub enum $name { $($body)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = <$name as strum::VariantArray>::VARIANTS;
            /// Their names in tables and on command lines.
            pub const NAMES: &'static [&'static str] = <$name as strum::VariantNames>::VARIANTS;

            /// Its name in tables and on command lines.
            pub fn name(self) -> &'static str {
                self.into()
            }

            fn unknown(name: &str) -> crate::error::Error {
                crate::error::Error::unknown($what, name, $name::NAMES)
            }
        }
    };
}
pub(crate) use named;
