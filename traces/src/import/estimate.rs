//! Tokens of a text whose tokenizer is not at hand.

/// Characters per token: median of the sessions of agentcgroup (GLM-4.7-Flash) whose log has exact counts, times 100.
/// English prose has about 4, code and JSON fewer.
const CHARS_PER_TOKEN_CENTI: u64 = 387;

/// Tokens of `chars` characters, rounded up.
pub fn tokens_of(chars: u64) -> u64 {
    chars.saturating_mul(100).div_ceil(CHARS_PER_TOKEN_CENTI)
}

/// Characters of the texts in a message, whatever their nesting: strings, lists of parts, objects with texts. Names of
/// keys and numbers do not count.
pub fn chars_in(value: &serde_json::Value) -> u64 {
    match value {
        serde_json::Value::String(text) => text.chars().count() as u64,
        serde_json::Value::Array(parts) => parts.iter().map(chars_in).sum(),
        serde_json::Value::Object(fields) => fields.values().map(chars_in).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_3_87_characters() {
        // 387 / 3.87 = 100; one more character begins a token.
        assert_eq!([0, 1, 387, 388].map(tokens_of), [0, 1, 100, 101]);
        let parts = serde_json::json!([{"type": "ab", "text": "cdé"}, 7, null, "x"]);
        assert_eq!(chars_in(&parts), 6);
    }
}
