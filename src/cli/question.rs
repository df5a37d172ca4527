//! One of Claude's questions as a person answers it. Pure: what is shown, and what a typed line means.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::transcript::tool_line;
use crate::api::event::PermissionRequested;
use crate::api::session::{Behavior, RespondParams};

/// The tool whose answer is a choice.
const CHOICE_TOOL: &str = "AskUserQuestion";

/// A question that is open, and how far its answer has come.
#[derive(Debug)]
pub(super) struct Question {
    session_id: Uuid,
    asked: PermissionRequested,
    /// The answers to the parts of a choice, in their order.
    chosen: Vec<String>,
}

impl Question {
    pub(super) fn new(session_id: Uuid, asked: PermissionRequested) -> Self {
        Self { session_id, asked, chosen: Vec::new() }
    }

    pub(super) fn request_id(&self) -> &str {
        &self.asked.request_id
    }

    pub(super) fn tool(&self) -> &str {
        &self.asked.tool_name
    }

    /// Can rules that are given beforehand spare it?
    pub(super) fn rules_can_spare_it(&self) -> bool {
        !self.asked.requires_user_interaction && self.parts().is_empty()
    }

    /// What is asked, in one line.
    pub(super) fn headline(&self) -> String {
        let line = tool_line(&json!({"name": self.tool(), "input": self.asked.input}));
        format!("Claude asks whether it may use {line}")
    }

    /// What else there is to know before an answer, in lines.
    pub(super) fn details(&self) -> Vec<String> {
        if let Some(part) = self.part() {
            let text = part["question"].as_str().unwrap_or_default();
            let options = options(part).enumerate().map(|(index, option)| {
                let description = option["description"].as_str().unwrap_or_default();
                let line = format!("  {}. {}  {description}", index + 1, label(option));
                line.trim_end().to_owned()
            });
            return std::iter::once(text.to_owned()).chain(options).collect();
        }
        let plan = self.asked.input["plan"].as_str();
        plan.into_iter().chain(self.asked.description.as_deref()).map(str::to_owned).collect()
    }

    /// The words before the place where the answer is typed.
    pub(super) fn prompt(&self) -> &'static str {
        match self.part() {
            Some(part) if part["multiSelect"] == true => "Numbers (as 1,3), or an answer in words: ",
            Some(_) => "A number, or an answer in words: ",
            None => "Allow it? y, n, or n and what to do instead: ",
        }
    }

    /// What a typed line means; `None`: it has to be asked again, or there is more to ask.
    pub(super) fn typed(&mut self, line: &str) -> Option<RespondParams> {
        let line = line.trim();
        if self.part().is_some() {
            return self.choose(line);
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word.to_lowercase().as_str() {
            "y" | "yes" if rest.is_empty() => Some(self.allow(None)),
            "n" | "no" => {
                let message = rest.trim();
                Some(self.deny((!message.is_empty()).then(|| message.to_owned())))
            }
            _ => None,
        }
    }

    /// The answer no.
    pub(super) fn deny(&self, message: Option<String>) -> RespondParams {
        RespondParams { message, ..self.answer(Behavior::Deny) }
    }

    fn allow(&self, updated_input: Option<Map<String, Value>>) -> RespondParams {
        RespondParams { updated_input, ..self.answer(Behavior::Allow) }
    }

    fn answer(&self, behavior: Behavior) -> RespondParams {
        RespondParams {
            session_id: self.session_id,
            request_id: self.asked.request_id.clone(),
            behavior,
            updated_input: None,
            updated_permissions: None,
            message: None,
            interrupt: false,
        }
    }

    /// The parts of a choice; none for any other question.
    fn parts(&self) -> &[Value] {
        let is_choice = self.asked.tool_name == CHOICE_TOOL;
        let parts = self.asked.input["questions"].as_array().filter(|_| is_choice);
        parts.map(Vec::as_slice).unwrap_or_default()
    }

    /// The part that is to be answered now.
    fn part(&self) -> Option<&Value> {
        self.parts().get(self.chosen.len())
    }

    fn choose(&mut self, line: &str) -> Option<RespondParams> {
        let chosen = self.part().and_then(|part| choice(part, line))?;
        self.chosen.push(chosen);
        if self.part().is_some() {
            return None;
        }
        let texts = self.parts().iter().map(|part| part["question"].as_str().unwrap_or_default().to_owned());
        let answers: Map<_, _> = texts.zip(self.chosen.iter().cloned().map(Value::from)).collect();
        let mut input = self.asked.input.as_object().cloned().unwrap_or_default();
        input.insert("answers".to_owned(), Value::Object(answers));
        Some(self.allow(Some(input)))
    }
}

/// The labels of the numbers, or the words themselves; `None`: no answer, or a number that is not there.
fn choice(part: &Value, line: &str) -> Option<String> {
    let several = part["multiSelect"] == true;
    let numbers: Result<Vec<usize>, _> = line.split(',').map(|word| word.trim().parse::<usize>()).collect();
    match numbers {
        Ok(numbers) if several || numbers.len() == 1 => {
            let labels: Option<Vec<_>> =
                numbers.into_iter().map(|number| options(part).nth(number.checked_sub(1)?).map(label)).collect();
            labels.map(|labels| labels.join(", "))
        }
        _ => (!line.is_empty()).then(|| line.to_owned()),
    }
}

fn options(part: &Value) -> impl Iterator<Item = &Value> {
    part["options"].as_array().into_iter().flatten()
}

fn label(option: &Value) -> &str {
    option["label"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(tool: &str, input: &Value) -> Question {
        let asked = json!({"request_id": "r", "tool_name": tool, "input": input});
        Question::new(Uuid::nil(), serde_json::from_value(asked).unwrap())
    }

    #[test]
    fn yes_and_no_are_understood_and_no_can_say_why() {
        let mut bash = question("Bash", &json!({"command": "ls"}));
        assert_eq!(bash.headline(), "Claude asks whether it may use Bash ls");
        for line in ["y", " YES "] {
            assert_eq!(bash.typed(line).unwrap().behavior, Behavior::Allow);
        }
        assert_eq!(bash.typed("n").unwrap().message, None);
        let denied = bash.typed("no  use git instead").unwrap();
        assert_eq!((denied.behavior, denied.message.as_deref()), (Behavior::Deny, Some("use git instead")));
        for line in ["", "maybe", "yes please", "ny"] {
            assert_eq!(bash.typed(line), None, "{line}");
        }
    }

    #[test]
    fn the_choices_of_a_question_become_its_answers() {
        let input = json!({"questions": [
            {"question": "Which?", "options": [{"label": "A", "description": "first"}, {"label": "B"}]},
            {"question": "What else?", "multiSelect": true, "options": [{"label": "X"}, {"label": "Y"}]},
        ]});
        let mut choice = question(CHOICE_TOOL, &input);
        assert_eq!(choice.details(), ["Which?", "  1. A  first", "  2. B"]);
        for wrong in ["", "3", "0"] {
            assert_eq!(choice.typed(wrong), None);
            assert_eq!(choice.details()[0], "Which?", "{wrong:?} is no answer");
        }
        assert_eq!(choice.typed("2"), None);
        assert_eq!(choice.details()[0], "What else?");
        let answer = choice.typed("1, 2").unwrap().updated_input.unwrap();
        assert_eq!(answer["answers"], json!({"Which?": "B", "What else?": "X, Y"}));
        assert_eq!(answer["questions"], input["questions"]);
        assert!(!choice.rules_can_spare_it());
    }

    #[test]
    fn an_answer_in_words_stands_for_itself() {
        let mut choice = question(CHOICE_TOOL, &json!({"questions": [{"question": "Which?", "options": []}]}));
        let answer = choice.typed("neither, wait").unwrap().updated_input.unwrap();
        assert_eq!(answer["answers"], json!({"Which?": "neither, wait"}));
    }
}
