//! What every page has: head, navigation, who is signed in; times, marks, differences.

use super::{
    chain, fleet, limits, proposals, traces,
    visit::link,
    words::{self, Lang, Word},
};
use crate::config::{Operator, OperatorRole};
use gw_proto::UnixMillis;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::{OffsetDateTime, macros::format_description, macros::offset};

/// The one style sheet, in the page itself: one answer paints it.
pub(super) const STYLE: &str = include_str!("style.css");

/// The pages in the navigation, and the role that each needs.
pub(super) const NAV: &[(&str, OperatorRole, Word)] = &[
    (fleet::PATH, OperatorRole::View, words::FLEET),
    (proposals::PATH, OperatorRole::View, words::PROPOSALS),
    (traces::PATH, OperatorRole::Auditor, words::TRACES),
    (chain::PATH, OperatorRole::View, words::CHAIN),
    (limits::PATH, OperatorRole::Auditor, words::LIMITS),
];

/// What a page stands in.
pub(super) struct Frame<'a> {
    pub(super) lang: Lang,
    /// none on the page of a refusal
    pub(super) operator: Option<&'a Operator>,
    /// this supervisor's node
    pub(super) node: &'a str,
    pub(super) now: UnixMillis,
    /// the path of the page's entry in the navigation
    pub(super) here: &'a str,
    /// this page in the other language
    pub(super) other: String,
}

/// A whole document.
pub(super) fn document(f: &Frame<'_>, title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(f.lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · " (f.lang.of(words::CONSOLE)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#content" { (f.lang.of(words::SKIP)) }
                (head(f))
                main id="content" {
                    h1 { (title) }
                    (content)
                    p class="soft" { (f.lang.of(words::AS_OF)) " " (when(f.now)) " · " (f.node) }
                }
            }
        }
    }
}

fn head(f: &Frame<'_>) -> Markup {
    let may = |role| f.operator.is_some_and(|o| o.has(role));
    html! {
        header {
            strong { (f.lang.of(words::CONSOLE)) }
            nav aria-label=(f.lang.of(words::PAGES)) {
                ul {
                    @for (path, _, word) in NAV.iter().filter(|(_, role, _)| may(*role)) {
                        li {
                            a href=(link(f.lang, path, &[])) aria-current=[(*path == f.here).then_some("page")] {
                                (f.lang.of(*word))
                            }
                        }
                    }
                }
            }
            span class="who" {
                @if let Some(o) = f.operator {
                    (f.lang.of(words::SIGNED_IN)) " " b { (o.name) } " (" (f.lang.of(words::ROLES)) ": "
                    (o.roles.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(", ")) ") · "
                }
                a href=(f.other) lang=(f.lang.other().tag()) { (f.lang.of(words::OTHER_LANGUAGE)) }
            }
        }
    }
}

/// A moment in UTC+8, with the zone; machines read it in UTC.
pub(super) fn when(at: UnixMillis) -> Markup {
    html! { time datetime=(at.rfc3339()) { (local(at)) } }
}

fn local(at: UnixMillis) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).ok();
    let shown = moment.and_then(|m| m.checked_to_offset(offset!(+8))).and_then(|m| m.format(form).ok());
    shown.map_or_else(|| format!("{} ms", at.0), |s| format!("{s} UTC+8"))
}

/// What a mark says: by shape and word, and by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Wait,
    Off,
}

/// A state by shape, word and colour.
pub(super) fn mark(tone: Tone, text: &str) -> Markup {
    let (class, shape) = match tone {
        Tone::Good => ("mark good", "✓"),
        Tone::Bad => ("mark bad", "✗"),
        Tone::Wait => ("mark wait", "△"),
        Tone::Off => ("mark off", "○"),
    };
    html! { span class=(class) { span aria-hidden="true" { (shape) } " " (text) } }
}

/// Two texts with what differs marked: the middle, between what they begin and end with alike.
pub(super) fn differing(a: &str, b: &str) -> (Markup, Markup) {
    let alike = |mut pairs: Box<dyn Iterator<Item = (char, char)> + '_>, most: usize| {
        let mut n = 0;
        while n < most && pairs.next().is_some_and(|(x, y)| x == y) {
            n += 1;
        }
        n
    };
    let shorter = a.chars().count().min(b.chars().count());
    let start = alike(Box::new(a.chars().zip(b.chars())), shorter);
    let end = alike(Box::new(a.chars().rev().zip(b.chars().rev())), shorter - start);
    (middle_marked(a, start, end), middle_marked(b, start, end))
}

fn middle_marked(text: &str, start: usize, end: usize) -> Markup {
    let middle = text.chars().count().saturating_sub(start + end);
    let part = |skip: usize, take: usize| text.chars().skip(skip).take(take).collect::<String>();
    html! {
        (part(0, start))
        @if middle > 0 { mark { (part(start, middle)) } }
        (part(start + middle, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_zone_they_name() {
        assert_eq!(local(UnixMillis(1_795_622_400_000)), "2026-11-26 00:00:00 UTC+8");
        assert!(when(UnixMillis(0)).into_string().contains("datetime=\"1970-01-01T00:00:00Z\""));
        assert_eq!(local(UnixMillis(u64::MAX)), format!("{} ms", u64::MAX));
    }

    #[test]
    fn the_middle_is_marked_and_everything_is_there() {
        let (a, b) = differing("sm3 00aa11", "sm3 00bb11");
        assert_eq!(a.into_string(), "sm3 00<mark>aa</mark>11");
        assert_eq!(b.into_string(), "sm3 00<mark>bb</mark>11");
        // what one has twice is not taken from both ends
        let (a, b) = differing("aa", "aaa");
        assert_eq!((a.into_string().as_str(), b.into_string().as_str()), ("aa", "aa<mark>a</mark>"));
        let (a, b) = differing("", "<b>");
        assert_eq!((a.into_string().as_str(), b.into_string().as_str()), ("", "<mark>&lt;b&gt;</mark>"));
        let (a, _) = differing("苏州", "杭州");
        assert_eq!(a.into_string(), "<mark>苏</mark>州");
    }

    #[test]
    fn a_mark_has_a_shape_and_a_word() {
        let marks = [Tone::Good, Tone::Bad, Tone::Wait, Tone::Off].map(|t| mark(t, "word").into_string());
        for (i, m) in marks.iter().enumerate() {
            assert!(m.contains(" word</span>"), "{m}");
            let shape = m.split("aria-hidden=\"true\">").nth(1).unwrap().chars().next();
            assert!(marks.iter().skip(i + 1).all(|o| !o.contains(&shape.unwrap().to_string())), "{m}");
        }
    }
}
