//! Arguments of a command: `--name value`, `--name=value`, and bare switches.
//!
//! Written by hand because six commands with two options each do not earn a dependency that takes
//! longer to build than all of this crate.

use std::str::FromStr;

use crate::process::Failure;

/// How a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Lines for people.
    Table,
    /// One JSON object on standard output; everything else goes to standard error.
    Json,
}

/// The arguments that are still to be read; [`Args::finish`] refuses what nobody took.
#[derive(Debug)]
pub(crate) struct Args {
    rest: Vec<String>,
}

impl Args {
    /// Takes the words after the command's name.
    pub(crate) fn new(words: &[String]) -> Self {
        Self { rest: words.to_vec() }
    }

    /// Takes the value of `--name`, in either spelling; the last one given counts.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let mut found = None;
        while let Some(text) = self.take_text(name)? {
            let value = text
                .parse()
                .map_err(|_| Failure::usage(format!("{name} does not take {text:?}")))?;
            found = Some(value);
        }
        Ok(found)
    }

    /// Takes every value of `--name`; commas separate several in one.
    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        let mut values = Vec::new();
        while let Some(text) = self.take_text(name)? {
            values.extend(text.split(',').filter(|item| !item.is_empty()).map(str::to_owned));
        }
        Ok(values)
    }

    /// Takes the switch `--name`, and says whether it was there.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|word| word != name);
        self.rest.len() < before
    }

    /// Takes `--output table|json`; a table unless told.
    pub(crate) fn output(&mut self) -> Result<Output, Failure> {
        match self.value::<String>("--output")?.as_deref() {
            None | Some("table") => Ok(Output::Table),
            Some("json") => Ok(Output::Json),
            Some(other) => {
                Err(Failure::usage(format!("--output takes table or json, not {other:?}")))
            }
        }
    }

    /// Refuses what no one took, so that a misspelt option never passes silently.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.rest.first() {
            None => Ok(()),
            Some(word) => Err(Failure::usage(format!("unexpected argument {word:?}"))),
        }
    }

    fn take_text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let assigned = format!("{name}=");
        let Some(at) = self.rest.iter().position(|w| w == name || w.starts_with(&assigned)) else {
            return Ok(None);
        };
        let word = self.rest.remove(at);
        if let Some(value) = word.strip_prefix(&assigned) {
            return Ok(Some(value.to_owned()));
        }
        if at < self.rest.len() {
            return Ok(Some(self.rest.remove(at)));
        }
        Err(Failure::usage(format!("{name} needs a value")))
    }
}

/// Whether help is asked for before any `--`, behind which words belong to someone else.
pub(crate) fn asks_for_help(words: &[String]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "-h" || word == "--help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Args::new(&words)
    }

    #[test]
    fn reads_values_lists_and_switches_in_any_order() {
        let mut given = args("--only fmt --list --seconds=5 --only tidy,licences --output json");
        assert_eq!(given.value::<u64>("--seconds").unwrap(), Some(5));
        assert_eq!(given.list("--only").unwrap(), ["fmt", "tidy", "licences"]);
        assert!(given.switch("--list"));
        assert!(!given.switch("--list"));
        assert_eq!(given.output().unwrap(), Output::Json);
        given.finish().unwrap();
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        assert!(args("--secnods 5").finish().is_err());
        assert!(args("--seconds five").value::<u64>("--seconds").is_err());
        assert!(args("--seconds").value::<u64>("--seconds").is_err());
        assert!(args("--output yaml").output().is_err());
    }

    #[test]
    fn help_behind_a_double_dash_belongs_to_the_tests() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(asks_for_help(&words("-p x --help")));
        assert!(!asks_for_help(&words("-p x -- --help")));
    }
}
