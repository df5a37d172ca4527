//! What a person should see of Claude's stream lines. Pure: lines in, pieces out.
//!
//! With partial messages a text comes twice, as deltas and in an `assistant` line; it is shown once. Text of
//! a stream that Claude abandons (`abandoned_blocks`) is taken back, and the line that follows is shown.

use serde_json::Value;

/// The longest summary of a tool's input, in characters.
const SUMMARY_LIMIT: usize = 100;

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// The answer's text, or a part of it.
    Text(String),
    /// A block of text is complete: the next one begins on a line of its own.
    BlockEnd,
    /// Text that was shown does not count; it comes again.
    TakenBack,
    /// Claude uses a tool.
    Tool(String),
    /// Something else that a person who waits wants to know.
    Note(String),
}

/// A text block that was shown as it came.
#[derive(Debug)]
struct Streamed {
    index: u64,
    text: String,
    /// Its `assistant` line has come.
    confirmed: bool,
}

/// Remembers what was shown of the message that is being streamed.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    blocks: Vec<Streamed>,
}

impl Transcript {
    /// What one line of Claude's stream adds.
    pub(super) fn line(&mut self, line: &Value) -> Vec<Piece> {
        let nested = !line["parent_tool_use_id"].is_null();
        match line["type"].as_str().unwrap_or_default() {
            "stream_event" if !nested => self.stream_event(&line["event"], line),
            "assistant" => self.assistant(&line["message"]["content"], nested),
            "system" => system_note(line).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn stream_event(&mut self, event: &Value, line: &Value) -> Vec<Piece> {
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => {
                self.blocks.clear();
                Vec::new()
            }
            "content_block_start" if event["content_block"]["type"] == "text" => {
                let index = event["index"].as_u64().unwrap_or_default();
                self.blocks.push(Streamed { index, text: String::new(), confirmed: false });
                self.delta(index, event["content_block"]["text"].as_str().unwrap_or_default())
            }
            "content_block_delta" if event["delta"]["type"] == "text_delta" => {
                let index = event["index"].as_u64().unwrap_or_default();
                self.delta(index, event["delta"]["text"].as_str().unwrap_or_default())
            }
            "content_block_stop" => {
                let index = event["index"].as_u64().unwrap_or_default();
                let is_text = self.blocks.iter().any(|block| block.index == index);
                if is_text { vec![Piece::BlockEnd] } else { Vec::new() }
            }
            "message_stop" => self.message_stop(event, line),
            _ => Vec::new(),
        }
    }

    fn delta(&mut self, index: u64, text: &str) -> Vec<Piece> {
        if text.is_empty() {
            return Vec::new();
        }
        match self.blocks.iter_mut().find(|block| block.index == index) {
            Some(block) => block.text.push_str(text),
            None => self.blocks.push(Streamed { index, text: text.to_owned(), confirmed: false }),
        }
        vec![Piece::Text(text.to_owned())]
    }

    fn message_stop(&mut self, event: &Value, line: &Value) -> Vec<Piece> {
        let Some(abandoned) = [event, line].iter().find_map(|holder| holder.get("abandoned_blocks")) else {
            return Vec::new();
        };
        let from = abandoned["from_block_index"].as_u64().unwrap_or_default();
        let shown = self.blocks.iter().any(|block| block.index >= from && !block.text.is_empty());
        self.blocks.retain(|block| block.index < from);
        if shown { vec![Piece::TakenBack] } else { Vec::new() }
    }

    fn assistant(&mut self, content: &Value, nested: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for block in content.as_array().into_iter().flatten() {
            match block["type"].as_str().unwrap_or_default() {
                // A sub-agent's text is its caller's to read.
                "text" if !nested => pieces.extend(self.text_block(block["text"].as_str().unwrap_or_default())),
                "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                    let indent = if nested { "  " } else { "" };
                    pieces.push(Piece::Tool(format!("{indent}{}", tool_line(block))));
                }
                _ => {}
            }
        }
        pieces
    }

    /// A whole block: what of it has not been shown yet.
    fn text_block(&mut self, text: &str) -> Vec<Piece> {
        if text.is_empty() {
            return Vec::new();
        }
        let streamed = self.blocks.iter_mut().find(|block| !block.confirmed && !block.text.is_empty());
        let (rest, taken_back) = match streamed {
            Some(block) => {
                block.confirmed = true;
                text.strip_prefix(block.text.as_str()).map_or((text, true), |rest| (rest, false))
            }
            None => (text, false),
        };
        let mut pieces = Vec::new();
        if taken_back {
            pieces.push(Piece::TakenBack);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        pieces.push(Piece::BlockEnd);
        pieces
    }
}

/// A tool's name and the one thing about its input that says most.
pub(super) fn tool_line(block: &Value) -> String {
    let (name, input) = (block["name"].as_str().unwrap_or("a tool"), &block["input"]);
    let telling = ["command", "file_path", "path", "notebook_path", "pattern", "url", "query", "description", "prompt"];
    let summary = telling.iter().find_map(|key| input[*key].as_str()).unwrap_or_default();
    let summary: Vec<_> = summary.split_whitespace().collect();
    let summary = summary.join(" ");
    let mut cut: String = summary.chars().take(SUMMARY_LIMIT).collect();
    if cut.len() < summary.len() {
        cut.push('…');
    }
    format!("{name} {cut}").trim_end().to_owned()
}

fn system_note(line: &Value) -> Option<Piece> {
    match line["subtype"].as_str()? {
        "api_retry" => {
            let cause = match line["error_status"].as_u64() {
                Some(status) => format!("Claude's API answers {status}"),
                None => "Claude's API can't be reached".to_owned(),
            };
            let (attempt, most) = (line["attempt"].as_u64()?, line["max_retries"].as_u64()?);
            let seconds = line["retry_delay_ms"].as_f64()? / 1_000.0;
            Some(Piece::Note(format!("{cause}; try {attempt} of {most} follows in {seconds:.1} s")))
        }
        "permission_denied" => Some(Piece::Note(format!("{} was not allowed", line["tool_name"].as_str()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(lines: &[Value]) -> Vec<Piece> {
        let mut transcript = Transcript::default();
        lines.iter().flat_map(|line| transcript.line(line)).collect()
    }

    fn stream(event: &Value) -> Value {
        json!({"type": "stream_event", "event": event, "parent_tool_use_id": null})
    }

    fn start(index: u64) -> Value {
        stream(&json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}))
    }

    fn delta(index: u64, text: &str) -> Value {
        stream(&json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}))
    }

    fn stop(index: u64) -> Value {
        stream(&json!({"type": "content_block_stop", "index": index}))
    }

    fn assistant(text: &str) -> Value {
        json!({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}, "parent_tool_use_id": null})
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    #[test]
    fn without_deltas_the_whole_text_is_shown() {
        assert_eq!(shown(&[assistant("Hello")]), [text("Hello"), Piece::BlockEnd]);
    }

    #[test]
    fn with_deltas_the_text_is_shown_once() {
        let lines = [start(0), delta(0, "Hel"), delta(0, "lo"), assistant("Hello"), stop(0)];
        assert_eq!(shown(&lines), [text("Hel"), text("lo"), Piece::BlockEnd, Piece::BlockEnd]);
    }

    #[test]
    fn what_the_deltas_left_out_is_added_from_the_whole_text() {
        assert_eq!(shown(&[start(0), delta(0, "Hel"), assistant("Hello")]), [text("Hel"), text("lo"), Piece::BlockEnd]);
    }

    #[test]
    fn an_abandoned_stream_is_taken_back_and_its_replacement_is_shown() {
        let abandoned = stream(&json!({"type": "message_stop", "abandoned_blocks": {"from_block_index": 0}}));
        let lines = [start(0), delta(0, "Hel"), stop(0), abandoned, assistant("Good day")];
        let expected = [text("Hel"), Piece::BlockEnd, Piece::TakenBack, text("Good day"), Piece::BlockEnd];
        assert_eq!(shown(&lines), expected);
    }

    #[test]
    fn blocks_before_the_abandoned_ones_stay() {
        let abandoned = stream(&json!({"type": "message_stop", "abandoned_blocks": {"from_block_index": 1}}));
        let lines = [start(0), delta(0, "One"), assistant("One"), abandoned, assistant("Two")];
        assert_eq!(shown(&lines), [text("One"), Piece::BlockEnd, text("Two"), Piece::BlockEnd]);
    }

    #[test]
    fn two_messages_with_the_same_text_are_both_shown() {
        let begin = || stream(&json!({"type": "message_start"}));
        let lines =
            [begin(), start(0), delta(0, "Hi"), assistant("Hi"), begin(), start(0), delta(0, "Hi"), assistant("Hi")];
        assert_eq!(shown(&lines), [text("Hi"), Piece::BlockEnd, text("Hi"), Piece::BlockEnd]);
    }

    #[test]
    fn a_tool_use_is_one_short_line() {
        let command = format!("echo one\n  echo {}", "x".repeat(200));
        let content = json!([{"type": "tool_use", "name": "Bash", "input": {"command": command, "description": "d"}}]);
        let pieces = shown(&[json!({"type": "assistant", "message": {"content": content}})]);
        let [Piece::Tool(line)] = pieces.as_slice() else { panic!("{pieces:?}") };
        assert!(line.starts_with("Bash echo one echo xxx") && line.ends_with('…') && !line.contains('\n'), "{line}");
        assert!(line.chars().count() <= SUMMARY_LIMIT + 6);
    }

    #[test]
    fn a_sub_agents_text_is_not_shown_and_its_tools_are() {
        let content = json!([{"type": "text", "text": "inner"}, {"type": "tool_use", "name": "Read", "input": {"file_path": "/a"}}]);
        let line = json!({"type": "assistant", "message": {"content": content}, "parent_tool_use_id": "t1"});
        assert_eq!(shown(&[line]), [Piece::Tool("  Read /a".into())]);
    }

    #[test]
    fn a_retry_is_told() {
        let line = json!({"type": "system", "subtype": "api_retry", "attempt": 2, "max_retries": 10, "retry_delay_ms": 1500, "error_status": 429});
        assert_eq!(shown(&[line]), [Piece::Note("Claude's API answers 429; try 2 of 10 follows in 1.5 s".into())]);
    }

    #[test]
    fn unknown_lines_are_passed_over() {
        assert_eq!(shown(&[json!({"type": "from_the_future"}), json!(7), json!({"type": "assistant"})]), []);
    }
}
