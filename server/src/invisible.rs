//! Text of which nobody sees anything, by the tables of Unicode (those of the crate `icu_properties`).

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};

/// What Unicode counts among the visible although its shape is empty: blank Braille, annotation marks, the Khitan filler, the null
/// notehead.
const EMPTY_SHAPES: [char; 6] = ['\u{2800}', '\u{FFF9}', '\u{FFFA}', '\u{FFFB}', '\u{16FE4}', '\u{1D159}'];

/// Whether `text` is empty, or holds nothing that can be seen: white space, and what is not shown by its nature (joiners, fillers,
/// variation selectors, tags).
pub(crate) fn is_invisible(text: &str) -> bool {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    text.chars().all(|c| c.is_whitespace() || (!c.is_ascii() && (ignorable.contains(c) || EMPTY_SHAPES.contains(&c))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_invisible() {
        for text in [
            "",
            " \t\r\n",
            "\u{b}\u{c}",
            "\u{85}\u{a0}\u{1680}\u{2003}\u{2028}\u{2029}\u{202f}\u{3000}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{115f}\u{1160}",
            "\u{17b4}\u{17b5}",
            "\u{180b}\u{180c}\u{180d}\u{180e}\u{180f}",
            "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}",
            "\u{202a}\u{202e}",
            "\u{2060}\u{2064}\u{2066}\u{206f}",
            "\u{2800}\u{2800}",
            "\u{3164}",
            "\u{fe00}\u{fe0f}",
            "\u{feff}",
            "\u{ffa0}",
            "\u{fff9}\u{fffa}\u{fffb}",
            "\u{16fe4}",
            "\u{1bca0}",
            "\u{1d159}\u{1d173}",
            "\u{e0001}\u{e0020}\u{e007f}",
            "\u{e0100}\u{e01ef}\u{e0fff}",
            " \u{200b}\n\u{2800}",
        ] {
            assert!(is_invisible(text), "{text:?}");
        }
    }

    #[test]
    fn what_somebody_sees_is_not() {
        for text in [
            "x",
            "\u{200b}x\u{200b}",
            "é",
            "\u{301}",
            "中",
            "\u{2801}",
            "\u{27ff}",
            "\u{3165}",
            "\u{1161}",
            "❤\u{fe0f}",
            "👩\u{200d}🚀",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}",
            "\u{e000}",
            "\u{fffc}\u{fffd}",
            "\u{10ffff}",
            "\u{0}",
        ] {
            assert!(!is_invisible(text), "{text:?}");
        }
    }

    #[test]
    fn of_ascii_only_white_space_is_invisible() {
        let ascii: Vec<char> = ('\0'..='\u{7f}').filter(|c| is_invisible(&c.to_string())).collect();
        assert_eq!(ascii, ['\t', '\n', '\u{b}', '\u{c}', '\r', ' ']);
    }
}
