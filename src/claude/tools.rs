//! Claude's lists of tools and rules: `Bash(git:*),Read`.

/// The single rules of a list as `--allowedTools` takes it: separated by commas or spaces, except inside
/// parentheses (`Bash(echo a, b)` is one rule). One string may hold several rules, so a policy that judges rules
/// must split first.
#[must_use]
pub fn split_rules(list: &str) -> Vec<&str> {
    let mut rules = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, character) in list.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && (character == ',' || character.is_whitespace()) => {
                rules.push(&list[start..at]);
                start = at + character.len_utf8();
            }
            _ => {}
        }
    }
    rules.push(&list[start..]);
    rules.retain(|rule| !rule.is_empty());
    rules
}

/// The tool that a rule is about: `Bash` of `Bash(git:*)`.
#[must_use]
pub fn tool_of(rule: &str) -> &str {
    rule.split('(').next().unwrap_or(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_split_at_commas_and_spaces_but_not_inside_parentheses() {
        assert_eq!(split_rules("Bash(echo a, b:*),Read Edit"), ["Bash(echo a, b:*)", "Read", "Edit"]);
        assert_eq!(split_rules(" ,, "), Vec::<&str>::new());
        assert_eq!(split_rules("Bash(f(x, y) z),Read"), ["Bash(f(x, y) z)", "Read"]);
        assert_eq!(split_rules("Read)\u{a0}Écrire"), ["Read)", "Écrire"]);
    }

    #[test]
    fn a_rule_names_its_tool() {
        assert_eq!(tool_of("Bash(git:*)"), "Bash");
        assert_eq!(tool_of("mcp__x__y"), "mcp__x__y");
    }
}
