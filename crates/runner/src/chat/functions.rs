//! The functions, filters and methods that chat templates call, as `transformers` defines them.

use chrono::NaiveDateTime;
use chrono::format::{Item, StrftimeItems};
use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, ErrorKind, State, filters};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::budget::{Budget, refused};
use super::json::Json;

/// Most columns that a filter indents by, and most digits of a width in a format.
const WIDEST: i64 = 999;

/// Puts them into `env`; `now` is what `strftime_now` says.
pub(super) fn install(env: &mut Environment<'_>, budget: &Budget, now: NaiveDateTime) {
    env.add_function("raise_exception", |what: String| -> Result<Value, Error> { Err(refused(what)) });
    env.add_function("strftime_now", move |format: String| {
        let items: Vec<Item<'_>> = StrftimeItems::new(&format).collect();
        if format.len() > 1000 || items.contains(&Item::Error) {
            return Err(refused(format!("strftime_now cannot write `{format}`")));
        }
        let mut text = String::new();
        // A time zone is not known here, and asking for one fails.
        std::fmt::Write::write_fmt(&mut text, format_args!("{}", now.format_with_items(items.iter())))
            .map_err(|_| refused(format!("strftime_now cannot write `{format}`")))?;
        Ok(text)
    });
    let left = budget.clone();
    let namespace = Value::from_function(minijinja::functions::namespace);
    env.add_function("namespace", move |state: &mut State, args: Rest<Value>, named: Kwargs| {
        let args = together(args, named);
        left.pay_for(&args)?;
        namespace.call(state, &args)
    });
    let left = budget.clone();
    env.add_function("dict", move |args: Rest<Value>, named: Kwargs| {
        let args = together(args, named);
        left.pay_for(&args)?;
        let mut pairs = Vec::new();
        for arg in &args {
            for key in arg.try_iter()?.checked() {
                let key = key?;
                pairs.push((key.clone(), arg.get_item(&key)?));
            }
        }
        Ok::<_, Error>(Value::from_pairs(pairs))
    });
    let left = budget.clone();
    env.add_filter("tojson", move |value: Value, options: Kwargs| {
        left.pay(&value)?;
        let text = Json::options(&options)?.text(&value)?;
        left.take(text.len())?;
        Ok::<_, Error>(text)
    });
    env.add_filter("~replace", filters::replace);
    let left = budget.clone();
    env.add_filter("replace", move |state: &mut State, args: Rest<Value>, named: Kwargs| {
        let args = together(args, named);
        pay_for_method(&left, "replace", args.first(), args.get(1..).unwrap_or_default())?;
        state.apply_filter("~replace", &args)
    });
    env.add_filter("~join", filters::join);
    let left = budget.clone();
    env.add_filter("join", move |state: &mut State, args: Rest<Value>, named: Kwargs| {
        let args = together(args, named);
        let size = left.pay_for(&args)?;
        // Of what has no length yet, there are at most as many entries as were paid for.
        let entries = args.first().map_or(0, |list| list.len().unwrap_or(size));
        left.take(size + args.get(1).map_or(0, written).saturating_mul(entries))?;
        state.apply_filter("~join", &args)
    });
    env.add_filter("~indent", filters::indent);
    let left = budget.clone();
    env.add_filter("indent", move |state: &mut State, args: Rest<Value>, named: Kwargs| {
        let args = together(args, named);
        let size = left.pay_for(&args)?;
        let named = args.last().and_then(|named| named.get_attr("width").ok()?.as_i64());
        let width = args.get(1).and_then(Value::as_i64).or(named).unwrap_or(4);
        let lines = args.first().and_then(Value::as_str).map_or(0, |text| text.matches('\n').count() + 1);
        if !(0..=WIDEST).contains(&width) {
            return Err(refused(format!("indent by {width} is not between 0 and {WIDEST}")));
        }
        left.take(size + lines * width as usize)?;
        state.apply_filter("~indent", &args)
    });
    env.add_filter("~format", filters::format);
    let left = budget.clone();
    env.add_filter("format", move |state: &mut State, args: Rest<Value>, named: Kwargs| {
        let args = together(args, named);
        pay_for_method(&left, "format", args.first(), args.get(1..).unwrap_or_default())?;
        state.apply_filter("~format", &args)
    });
    let left = budget.clone();
    env.set_unknown_method_callback(move |state, value, method, args| {
        pay_for_method(&left, method, Some(value), args)?;
        let result = match (method, value.as_str()) {
            ("strip" | "lstrip" | "rstrip", Some(text)) => strip(text, method, args),
            ("title", Some(text)) => Ok(Value::from(title(text))),
            ("removeprefix" | "removesuffix", Some(text)) => without(text, method, args),
            _ => unknown_method_callback(state, value, method, args),
        };
        let result = result.map_err(|error| match error.kind() {
            ErrorKind::UnknownMethod => refused(format!("a {} has no method `{method}`", value.kind())),
            _ => error,
        })?;
        left.pay(&result)?;
        Ok(result)
    });
}

/// The arguments of a call as minijinja passes them on, the named ones last.
pub(super) fn together(args: Rest<Value>, named: Kwargs) -> Vec<Value> {
    let mut all = args.0;
    if named.args().next().is_some() {
        all.push(Value::from(named));
    }
    all
}

/// Bytes of a text, 0 for anything else.
fn written(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

/// Pays for what a method reads, and for what it will build where that can be more than a little.
fn pay_for_method(budget: &Budget, method: &str, of: Option<&Value>, args: &[Value]) -> Result<(), Error> {
    let size = of.map_or(Ok(0), |of| budget.pay(of))? + budget.pay_for(args)?;
    let text = of.and_then(Value::as_str).unwrap_or_default();
    match method {
        "replace" => {
            let (from, to) =
                (args.first().and_then(Value::as_str).unwrap_or_default(), args.get(1).map_or(0, written));
            budget.take(text.matches(from).count().saturating_mul(to))
        }
        "join" => {
            let entries = args.first().map_or(0, |list| list.len().unwrap_or(size));
            budget.take(text.len().saturating_mul(entries))
        }
        "format" => {
            let digits = text.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max().unwrap_or(0);
            if digits > WIDEST.to_string().len() || text.contains('*') {
                return Err(refused("a width in the format is too large"));
            }
            // Each placeholder may ask for any of the arguments.
            let places = text.matches(['{', '%']).count();
            budget.take(places.saturating_mul(size + WIDEST as usize))
        }
        _ => Ok(()),
    }
}

/// What Python calls white space: Unicode's, and four control characters.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

fn strip(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let letters = match args {
        [] => None,
        [none] if none.is_none() => None,
        [letters] => match letters.as_str() {
            Some(letters) => Some(letters),
            None => return Err(refused(format!("{method} takes a string, not a {}", letters.kind()))),
        },
        _ => return Err(refused(format!("{method} takes one argument, not {}", args.len()))),
    };
    let goes = |letter: char| letters.map_or_else(|| is_space(letter), |letters| letters.contains(letter));
    Ok(Value::from(match method {
        "lstrip" => text.trim_start_matches(goes),
        "rstrip" => text.trim_end_matches(goes),
        _ => text.trim_matches(goes),
    }))
}

/// Every letter after none in upper case, the others in lower case.
fn title(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut within = false;
    for letter in text.chars() {
        if within {
            shown.extend(letter.to_lowercase());
        } else {
            shown.extend(letter.to_uppercase());
        }
        within = letter.is_alphabetic();
    }
    shown
}

fn without(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let [part] = args else {
        return Err(refused(format!("{method} takes one argument, not {}", args.len())));
    };
    let part =
        part.as_str().ok_or_else(|| refused(format!("{method} takes a string, not a {}", part.kind())))?;
    let cut = if method == "removeprefix" { text.strip_prefix(part) } else { text.strip_suffix(part) };
    Ok(Value::from(cut.unwrap_or(text)))
}
