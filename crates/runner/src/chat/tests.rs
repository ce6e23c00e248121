use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn apply(text: &str) -> Result<String> {
    apply_to(text, &[Message::new("user", "Hi")], &ChatOptions::default())
}

fn apply_to(text: &str, messages: &[Message], options: &ChatOptions) -> Result<String> {
    ChatTemplate::from_text(text, &[("bos_token", "<s>")]).apply(messages, options)
}

fn refusal(text: &str) -> String {
    apply(text).expect_err(text).to_string()
}

#[test]
fn an_exception_has_its_message_and_line() {
    let message =
        refusal("{{ bos_token }}\n{% if true %}\n{{ raise_exception('Roles must alternate') }}{% endif %}");
    assert_eq!(message, "chat template given as text, line 3: Roles must alternate");
    assert!(refusal("a\n{% if %}").contains("line 2"), "{}", refusal("a\n{% if %}"));
    assert!(refusal("{{ 'a'.unheard() }}").contains("no method `unheard`"));
    assert!(refusal("{{ 'a' | unheard }}").contains("unheard"));
}

#[test]
fn the_clock_is_given() {
    let now = chrono::NaiveDate::from_ymd_opt(2024, 7, 26).unwrap().and_hms_opt(1, 2, 3).unwrap();
    let options = ChatOptions { now: Some(now), ..ChatOptions::default() };
    let text = "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %H:%M') }}";
    assert_eq!(
        apply_to(text, &[Message::new("user", "Hi")], &options).unwrap(),
        "26 Jul 2024|2024-07-26 01:02"
    );
    for wrong in ["{{ strftime_now('%Q') }}", "{{ strftime_now('%z') }}"] {
        assert!(refusal(wrong).contains("strftime_now"), "{wrong}");
    }
}

#[test]
fn generation_blocks_are_scopes() {
    let text = "{% for m in messages %}{%- generation -%} {{ m.content }}{% set x = 1 %} {%- endgeneration -%}{% \
        endfor %}|{{ x }}";
    assert_eq!(apply(text).unwrap(), "Hi|");
}

/// What would hang or fill memory in an engine that counts nothing, or counts instructions alone.
#[test]
fn bombs_are_refused() {
    let nest = |statement: &str, setup: &str| {
        let for_ever = "{% for a in range(9999) %}{% for b in range(9999) %}";
        format!(
            "{{% set n = namespace(x={setup}) %}}{for_ever}{statement}{{% endfor %}}{{% endfor %}}{{{{ n.x }}}}"
        )
    };
    let bombs = [
        nest("", "1"),
        nest("{{ 'word' }}", "1"),
        nest("{% set n.x = n.x ~ n.x %}", "'ab'"),
        nest("{% set n.x = n.x + n.x %}", "'ab'"),
        nest("{% set n.x = n.x + n.x %}", "[1]"),
        nest("{% set n.x = n.x * 2 %}", "'ab'"),
        nest("{% set n.x = [n.x, n.x] %}", "'ab'"),
        nest("{% set n.x = [n.x] %}", "'ab'"),
        nest("{% set n.x = (n.x, n.x) %}", "'ab'"),
        nest("{% set n.x = {'a': n.x, 'b': n.x} %}", "'ab'"),
        nest("{% set n.x = namespace(a=n.x) %}", "'ab'"),
        nest("{% set n.x = dict(a=n.x, b=n.x) %}", "'ab'"),
        nest("{% set n.x = n.x | replace('a', n.x) %}", "'aaaa'"),
        nest("{% set n.x = n.x.replace('a', n.x) %}", "'aaaa'"),
        nest("{% set n.x = n.x | replace('', n.x) %}", "'aaaa'"),
        nest("{% set n.x = n.x | join(n.x) %}", "'aaaa'"),
        nest("{% set n.x = n.x.join([n.x, n.x]) %}", "'aaaa'"),
        nest("{% set n.x = [n.x, n.x] | sum %}", "'aaaa'"),
        nest("{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}", "'aaaa'"),
        nest("{% set n.x = '{}{}'.format(n.x, n.x) %}", "'aaaa'"),
        nest("{% set n.x = '%s%s' | format(n.x, n.x) %}", "'aaaa'"),
        nest("{% set n.x = n.x | tojson %}", "'\"\\\\'"),
        nest("{% set n.x = n.x | indent(900, true) %}", "'a\\nb'"),
        nest("{% if 'b' in n.x %}{% endif %}", "'a' * 1000000"),
        nest("{% if n.x == n.x ~ 'b' %}{% endif %}", "'a' * 1000000"),
        nest("{% set y = n.x[1:] %}", "'a' * 1000000"),
        nest("{% set y = n.x.split('a') %}", "'a' * 1000000"),
        nest("{% set y = n.x | upper %}", "'a' * 1000000"),
        "{{ 'a' * 99999999999 }}".into(),
        "{{ ('a' * 99999999) ~ ('a' * 99999999) ~ ('a' * 99999999) }}".into(),
        "{{ [0] * 99999999 }}".into(),
        "{{ '%999999999d' | format(1) }}".into(),
        "{{ '{:999999999}'.format(1) }}".into(),
        "{{ 'a' | indent(999999999, true) }}".into(),
        "{{ [1] | tojson(indent=999999999) }}".into(),
        "{{ [1] | batch(999999999, 0) | list }}".into(),
        "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('ab') }}".into(),
        "{% set n = namespace() %}{% set n.n = n %}{{ n }}".into(),
        "{% set n = namespace() %}{% set n.n = n %}{{ n == n }}{{ n | tojson }}".into(),
        "{{ ".to_owned() + &"(".repeat(100_000),
        "{{ ".to_owned() + &"[".repeat(100_000),
        "{{ ".to_owned() + &"-".repeat(100_000) + "1 }}",
        "{% if true %}".repeat(70_000),
        "{% for a in b %}".repeat(60_000),
        "{% if false %}".to_owned() + &"{% elif false %}".repeat(60_000) + "{% endif %}",
        "{{ 1".to_owned() + &"+1".repeat(999) + " }}",
        "{{ a".to_owned() + &"|list".repeat(999) + " }}",
        "{% if false %}".to_owned() + &"{% elif false %}".repeat(499) + "{% endif %}",
        "{{ 1".to_owned() + &"+1".repeat(100_000) + " }}",
        "{{ 'a'".to_owned() + &"~'a'".repeat(100_000) + " }}",
        "{{ a".to_owned() + &".a".repeat(100_000) + " }}",
    ];
    for bomb in &bombs {
        let before = Instant::now();
        let shown: String = bomb.chars().take(160).collect();
        match apply(bomb) {
            Err(Error::Template { what, .. }) => println!("{shown}\n    {what}"),
            Err(other) => panic!("{shown}: {other}"),
            Ok(text) => assert!(text.len() < 1 << 26, "{shown}: {} bytes", text.len()),
        }
        let took = before.elapsed();
        assert!(took < Duration::from_secs(20), "{shown}: {took:?}");
    }
}

/// Pieces that a template may be put together from, whole and broken.
const PIECES: [&str; 44] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{%-",
    "-%}",
    "{#",
    "#}",
    " if ",
    " else ",
    " endif ",
    " for x in ",
    " endfor ",
    " set x = ",
    " set ns.x = ",
    "x",
    "messages",
    "messages[0]",
    ".content",
    "['role']",
    "bos_token",
    "'a'",
    "\"é😀\"",
    "[1, 2]",
    "{'a': 1}",
    "7",
    "99999999",
    "-1",
    " + ",
    " ~ ",
    " * ",
    " ** ",
    " // ",
    " % ",
    " in ",
    " is defined ",
    "|length",
    "|tojson",
    "|join('x')",
    "[1:]",
    "range(99)",
    "namespace(x=1)",
    " generation ",
    " endgeneration ",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_rendered_or_refused(text in ".{0,80}") {
        let _ = apply(&text);
    }

    #[test]
    fn any_pieces_are_rendered_or_refused(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24)) {
        let text = pieces.concat();
        let before = Instant::now();
        let _ = apply(&text);
        let _ = apply(&format!("{{{{ {text} }}}}"));
        prop_assert!(before.elapsed() < Duration::from_secs(10), "{text}");
    }

    #[test]
    fn any_content_comes_out_as_it_is(role in ".{0,10}", content in ".{0,60}") {
        let text = "{% for m in messages %}<{{ m['role'] }}>{{ m.content }}{% endfor %}";
        let got = apply_to(text, &[Message::new(&*role, &*content)], &ChatOptions::default()).unwrap();
        prop_assert_eq!(got, format!("<{role}>{content}"));
    }
}
