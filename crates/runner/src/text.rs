//! Files of text, read in one way everywhere.

use std::path::Path;

use crate::error::{Error, Result};

/// The text in the file at `path`, which must be UTF-8, without the byte order mark that some editors put first: no
/// parser expects it, and in a prompt it would be a token.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read, [`Error::Format`] if it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let failed = |cause| Error::Read {
        path: path.to_owned(),
        cause,
        hint: "check the path, and that the file may be read",
    };
    let bytes = std::fs::read(path).map_err(failed)?;
    match utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(what) => Err(Error::Format { file: path.display().to_string(), what }),
    }
}

/// The same bytes without a byte order mark of UTF-8 before them: for texts that are not read with [`read_text`]
/// because their lines may be wrong one by one.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The text that `bytes` are, or what is wrong with them.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    std::str::from_utf8(without_bom(bytes)).map_err(|error| match utf16 {
        true => "is UTF-16, not UTF-8\nhint: save it as UTF-8".to_owned(),
        false => format!("is not UTF-8: {error}\nhint: save it as UTF-8"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_dropped_and_other_encodings_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_text(&path)
        };
        assert_eq!(read(b"\xef\xbb\xbfa\n").unwrap(), "a\n");
        assert_eq!(read("a\u{feff}".as_bytes()).unwrap(), "a\u{feff}", "a mark inside is text");
        assert_eq!(read(b"").unwrap(), "");
        for (bytes, words) in
            [(&b"\xff\xfea\0"[..], "is UTF-16"), (b"\xfe\xff\0a", "is UTF-16"), (b"ab\xff", "from index 2")]
        {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("hint: save it as UTF-8"), "{error}");
        }
        let error = read_text(&dir.path().join("gone")).unwrap_err().to_string();
        assert!(error.contains("gone: cannot read: ") && error.contains("\nhint: "), "{error}");
    }
}
