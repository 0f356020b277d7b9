//! What broke a law, collected, so that one run of many histories shows everything.

use std::collections::BTreeMap;

/// By law: the first history that broke it, how, and how many did.
#[derive(Debug, Default)]
pub(crate) struct Broken(BTreeMap<String, (String, usize)>);

impl Broken {
    /// Notes a problem, if there is one.
    pub(crate) fn note(&mut self, law: &str, history: &str, problem: Option<String>) {
        if let Some(problem) = problem {
            let first = || (format!("{history}\n{}", cut(&problem)), 0);
            self.0.entry(law.to_owned()).or_insert_with(first).1 += 1;
        }
    }

    /// Panics if there was any.
    pub(crate) fn assert_none(self) {
        let laws = self.0.iter().map(|(law, (first, count))| {
            format!("{law}: broken by {count} histories, the first: {first}")
        });
        assert!(self.0.is_empty(), "{}", laws.collect::<Vec<_>>().join("\n\n"));
    }
}

/// Lines of a length that can be read.
fn cut(text: &str) -> String {
    let lines = text.lines().map(|line| line.chars().take(1500).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}
