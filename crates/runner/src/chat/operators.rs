//! The operators of a template that can make a value larger than their operands, paid for before they do.

use minijinja::value::{Rest, Tuple, Value, ValueKind};
use minijinja::{Environment, Error};

use super::budget::{Budget, refused};

/// Puts the operators into `env` under the names that the compiled template calls.
pub(super) fn install(env: &mut Environment<'_>, budget: &Budget) {
    let paid = |operate: fn(Value, Value) -> Result<Value, Error>| {
        let budget = budget.clone();
        move |a: Value, b: Value| {
            budget.pay(&a)?;
            budget.pay(&b)?;
            operate(a, b)
        }
    };
    env.add_filter("~add", paid(add));
    env.add_filter("~concat", paid(|a, b| Ok(Value::from(format!("{a}{b}")))));
    env.add_filter("~eq", paid(|a, b| Ok(Value::from(a == b))));
    env.add_filter("~ne", paid(|a, b| Ok(Value::from(a != b))));
    env.add_filter("~in", paid(contains));
    let left = budget.clone();
    env.add_filter("~mul", move |a: Value, b: Value| multiply(&left, &a, &b));
    let left = budget.clone();
    env.add_filter("~slice", move |of: Value, start: Value, stop: Value, step: Value| {
        left.pay(&of)?;
        slice(&of, bound(&start)?, bound(&stop)?, bound(&step)?)
    });
    let left = budget.clone();
    env.add_filter("~build_list", move |items: Rest<Value>| {
        left.pay_for(&items)?;
        nested(&left, Value::from(items.0))
    });
    let left = budget.clone();
    env.add_filter("~build_tuple", move |items: Rest<Value>| {
        left.pay_for(&items)?;
        nested(&left, Value::from(Tuple::from(items.0)))
    });
    let left = budget.clone();
    env.add_filter("~build_map", move |items: Rest<Value>| {
        left.pay_for(&items)?;
        let pairs = items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        nested(&left, Value::from_pairs(pairs))
    });
    let left = budget.clone();
    env.set_formatter(move |out, _, value| {
        left.pay(value)?;
        write!(out, "{value}").map_err(|_| refused("the text cannot be written"))
    });
}

/// The value itself, if it does not stand too deep.
fn nested(budget: &Budget, value: Value) -> Result<Value, Error> {
    budget.pay(&value)?;
    Ok(value)
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn unfit(sign: &str, a: &Value, b: &Value) -> Error {
    refused(format!("`{sign}` is not possible between {} and {}", a.kind(), b.kind()))
}

fn items(of: &Value) -> Result<Vec<Value>, Error> {
    of.try_iter()?.checked().collect()
}

/// An integer where both are, else a float.
fn number(
    sign: &str,
    a: &Value,
    b: &Value,
    exact: fn(i128, i128) -> Option<i128>,
    inexact: fn(f64, f64) -> f64,
) -> Result<Value, Error> {
    let numeric = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    if !numeric(a) || !numeric(b) {
        return Err(unfit(sign, a, b));
    }
    if let (Ok(x), Ok(y)) = (i128::try_from(a.clone()), i128::try_from(b.clone()))
        && (a.is_integer() || a.kind() == ValueKind::Bool)
        && (b.is_integer() || b.kind() == ValueKind::Bool)
    {
        let whole =
            exact(x, y).ok_or_else(|| refused(format!("`{sign}` gives a number that is too large")))?;
        return Ok(i64::try_from(whole).map_or_else(|_| Value::from(whole), Value::from));
    }
    Ok(Value::from(inexact(f64::try_from(a.clone())?, f64::try_from(b.clone())?)))
}

fn add(a: Value, b: Value) -> Result<Value, Error> {
    if let (Some(x), Some(y)) = (a.as_str(), b.as_str()) {
        return Ok(Value::from([x, y].concat()));
    }
    if is_list(&a) && is_list(&b) {
        return Ok(Value::from([items(&a)?, items(&b)?].concat()));
    }
    number("+", &a, &b, i128::checked_add, |x, y| x + y)
}

fn contains(item: Value, container: Value) -> Result<Value, Error> {
    if let Some(text) = container.as_str() {
        let part = item.as_str().ok_or_else(|| unfit("in", &item, &container))?;
        return Ok(Value::from(text.contains(part)));
    }
    match container.kind() {
        ValueKind::Undefined => Ok(Value::from(false)),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            Ok(Value::from(items(&container)?.contains(&item)))
        }
        _ => Err(unfit("in", &item, &container)),
    }
}

fn multiply(budget: &Budget, a: &Value, b: &Value) -> Result<Value, Error> {
    let repeated = |what: &Value, times: &Value| -> Result<Value, Error> {
        let times = times.as_i64().ok_or_else(|| unfit("*", a, b))?.max(0) as usize;
        let size = budget.pay(what)?;
        budget.take(size.saturating_mul(times))?;
        match what.as_str() {
            Some(text) => Ok(Value::from(text.repeat(times))),
            None => {
                let items = items(what)?;
                Ok(Value::from((0..times).flat_map(|_| items.iter().cloned()).collect::<Vec<_>>()))
            }
        }
    };
    let repeats = |value: &Value| value.as_str().is_some() || is_list(value);
    match (repeats(a), repeats(b)) {
        (true, false) => repeated(a, b),
        (false, true) => repeated(b, a),
        _ => number("*", a, b, i128::checked_mul, |x, y| x * y),
    }
}

/// A bound of a slice; none if it was left out.
fn bound(value: &Value) -> Result<Option<i64>, Error> {
    if value.is_none() {
        return Ok(None);
    }
    value.as_i64().map(Some).ok_or_else(|| refused("the bounds of a slice must be integers"))
}

/// `of[start:stop:step]` as in Python.
fn slice(of: &Value, start: Option<i64>, stop: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(refused("the step of a slice cannot be 0"));
    }
    let indices = |length: usize| {
        let length = length as i64;
        let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
        let place = |bound: Option<i64>, absent: i64| match bound {
            None => absent,
            Some(bound) if bound < 0 => bound.saturating_add(length).max(low),
            Some(bound) => bound.min(high),
        };
        let (first, end) = if step > 0 {
            (place(start, 0), place(stop, length))
        } else {
            (place(start, length - 1), place(stop, -1))
        };
        let mut at = first;
        std::iter::from_fn(move || {
            let inside = if step > 0 { at < end } else { at > end };
            let here = at;
            at = at.saturating_add(step);
            inside.then_some(here as usize)
        })
    };
    if let Some(text) = of.as_str() {
        let letters: Vec<char> = text.chars().collect();
        return Ok(Value::from(indices(letters.len()).filter_map(|i| letters.get(i)).collect::<String>()));
    }
    if of.is_undefined() || of.is_none() || !is_list(of) {
        return Err(refused(format!("a {} cannot be sliced", of.kind())));
    }
    let items = items(of)?;
    Ok(Value::from(indices(items.len()).filter_map(|i| items.get(i).cloned()).collect::<Vec<_>>()))
}
