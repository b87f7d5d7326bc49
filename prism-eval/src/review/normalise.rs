//! What a guest is given of a source: comments and idle texts blanked, everything else as it was, on the lines where it
//! was. Names stay, since attributes, keywords and state dictionaries see them.
use super::syntax::Module;
use std::ops::Range;

/// A module's source without its comments and docstrings. Line breaks stay, so that tracebacks name the same lines; a
/// text that stands alone as a statement becomes an empty one. White space before a comment and at the end of a line
/// goes with it, but not in a text.
///
/// `source` is what the module was parsed from.
#[must_use]
pub fn normalise(module: &Module, source: &str) -> String {
    let idle: Vec<Range<u32>> = module.idle_texts().map(|node| node.range.clone()).collect();
    let inside = |range: &&Range<u32>| !idle.iter().any(|text| text.contains(&range.start));
    let comments = module.comments().iter().filter(inside).map(|range| (range.clone(), false));
    let mut cuts: Vec<(Range<u32>, bool)> = comments.chain(idle.iter().map(|range| (range.clone(), true))).collect();
    cuts.sort_by_key(|(range, _)| range.start);
    let (mut out, mut from) = (String::with_capacity(source.len()), 0);
    for (range, is_text) in cuts {
        let (start, end) = (range.start as usize, range.end as usize);
        out.push_str(source.get(from..start).unwrap_or_default());
        if is_text {
            let breaks: String =
                source.get(start..end).unwrap_or_default().chars().filter(|c| matches!(c, '\n' | '\r')).collect();
            out.push_str(if breaks.is_empty() { "\"" } else { "\"\"\"" });
            out.push_str(&breaks);
            out.push_str(if breaks.is_empty() { "\"" } else { "\"\"\"" });
        } else {
            out.truncate(out.trim_end_matches([' ', '\t']).len());
        }
        from = end;
    }
    out.push_str(source.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(source: &str) -> String {
        normalise(&Module::parse("m.py", source).unwrap(), source)
    }

    #[test]
    fn comments_and_docstrings_go_and_lines_stay() {
        let source = "# -*- coding: x -*-\n'''Doc\nof two lines'''\nx = 1  # one # two\nclass A:\n    \"doc\" 'ument'; y = 2\n    \
                      def f(self):\n        (\"a\" # inside\n         \"b\")\n        return '# no comment'\n    # end";
        let expected = "\n\"\"\"\n\"\"\"\nx = 1\nclass A:\n    \"\"; y = 2\n    def f(self):\n        (\"\"\"\n\"\"\")\n        \
                        return '# no comment'\n";
        assert_eq!(normal(source), expected);
        assert_eq!(normal(expected), expected);
        assert_eq!(
            normal("x = 1 \\\n# gone\ny = '''\n# kept'''\r\n# gone\r\n"),
            "x = 1 \\\n\ny = '''\n# kept'''\r\n\r\n"
        );
        assert_eq!(normal("\u{feff}# gone\nx = 'é' # é\nf'{x # é\n}'\n"), "\u{feff}\nx = 'é'\nf'{x\n}'\n");
    }

    /// Programs of statements that hold comments and idle texts wherever Python lets them stand.
    fn program() -> impl Strategy<Value = String> {
        let remark = prop_oneof![Just(""), Just("  # a \" ' remark"), Just("\t#")];
        let value = prop_oneof![
            Just("1"),
            Just("'# text'"),
            Just("f'{x!r:>{y}} # {x}'"),
            Just("[1, # one\n 2,\n # two\n]"),
            Just("\"\"\"long\n# text\"\"\""),
            Just("(lambda a: a)(x)"),
            Just("b'#' if x else None"),
        ];
        let statement = prop_oneof![
            value.prop_map(|value| format!("x = {value}")),
            Just("'idle'".to_owned()),
            Just("b'idle'; y = 1".to_owned()),
            Just("r'''idle\n  # not a remark\n'''".to_owned()),
            Just("('idle' # remark\n 'more')".to_owned()),
            Just("# remark".to_owned()),
            Just("pass".to_owned()),
            Just("return_ = 1 + \\\n  2".to_owned()),
        ];
        let line = (statement, remark).prop_map(|(statement, remark)| format!("{statement}{remark}"));
        let block = (
            prop_oneof![Just("def f(x):"), Just("class C:"), Just("if x:"), Just("for x in y:")],
            prop::collection::vec(line.clone(), 1..4),
        )
            .prop_map(|(head, lines)| {
                // Continuation lines sit in brackets, texts or after a backslash: their indentation is free.
                lines.iter().fold(format!("{head}  # head"), |block, line| format!("{block}\n    {line}"))
                    + "\n    pass"
            });
        let ends = prop_oneof![Just("\n"), Just("\r\n")];
        (prop::collection::vec(prop_oneof![line, block], 0..8), ends)
            .prop_map(|(parts, end)| parts.join("\n").replace('\n', end))
    }

    proptest! {
        #[test]
        fn the_program_stays_the_same(source in program()) {
            let module = Module::parse("m.py", &source).unwrap();
            let normal = normalise(&module, &source);
            let again = Module::parse("m.py", &normal).unwrap();
            prop_assert!(module.same_program(&again), "{source:?}\n{normal:?}");
            prop_assert!(again.comments().is_empty());
            prop_assert!(again.idle_texts().all(|text| text.text.trim().is_empty()));
            prop_assert_eq!(normalise(&again, &normal), normal.clone());
            let lines = |text: &str| text.matches('\n').count();
            prop_assert_eq!(lines(&source), lines(&normal));
        }
    }
}
