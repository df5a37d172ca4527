//! What others say of a caller: claims, found by name and read as a role.
//!
//! It must not know who said it: whoever calls has checked that already.

use serde_json::Value;

use crate::api::Role;

/// A claim of that name, else the one that the dots of the name lead to. (Names can be addresses, with dots in them.)
pub(super) fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |inside, part| inside.get(part)))
}

/// The texts of a claim that is a text or a list of texts; what else is in a list is passed over.
fn texts<'a>(claims: &'a Value, name: &str) -> Option<Vec<&'a str>> {
    match find(claims, name)? {
        Value::String(one) => Some(vec![one]),
        Value::Array(several) => Some(several.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

/// Has that claim this value, alone or in a list? A switch or a number counts as its spelling.
pub(super) fn has(claims: &Value, name: &str, value: &str) -> bool {
    match find(claims, name) {
        Some(Value::Bool(switch)) => switch.to_string() == value,
        Some(Value::Number(number)) => number.to_string() == value,
        _ => texts(claims, name).is_some_and(|found| found.contains(&value)),
    }
}

/// The role that a claim gives; `None`: none. An empty name: everybody is a user.
pub(super) fn role(claims: &Value, name: &str, admin_values: &[String], user_values: &[String]) -> Option<Role> {
    if name.is_empty() {
        return Some(Role::User);
    }
    let found = texts(claims, name)?;
    let has = |values: &[String]| values.iter().any(|value| found.contains(&value.as_str()));
    if has(admin_values) { Some(Role::Admin) } else { has(user_values).then_some(Role::User) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_its_whole_name_before_its_dots_are_followed() {
        let claims =
            json!({"a": {"b": "inside"}, "https://x.example/roles": "dev", "hd": "example.com", "ok": true, "n": 7});
        assert_eq!(find(&claims, "a.b"), Some(&json!("inside")));
        assert_eq!(find(&claims, "https://x.example/roles"), Some(&json!("dev")));
        assert_eq!(find(&claims, "a.c"), None);
        assert!(
            has(&claims, "hd", "example.com")
                && has(&claims, "ok", "true")
                && has(&claims, "n", "7")
                && !has(&claims, "hd", "example.co")
        );
    }

    #[test]
    fn a_role_comes_from_a_text_or_a_list_and_from_nothing_else() {
        let (admins, users) = (["boss".to_owned()], ["dev".to_owned()]);
        let of = |groups: Value| role(&json!({"groups": groups}), "groups", &admins, &users);
        assert_eq!(of(json!("boss")), Some(Role::Admin));
        assert_eq!(of(json!(["x", "dev", "boss"])), Some(Role::Admin));
        assert_eq!(of(json!(["dev", 7])), Some(Role::User));
        for nothing in [json!("bos"), json!([]), json!({"boss": true}), json!(null), json!(7)] {
            assert_eq!(of(nothing), None);
        }
        assert_eq!(role(&json!({}), "", &admins, &users), Some(Role::User));
    }
}
