//! nft's JSON as people read it, for evidence.

use serde_json::Value;

/// A statement as people read it, near enough to nft's own words.
pub(super) fn words_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let words: Vec<String> = values.iter().map(words_of).collect();
            format!("{{ {} }}", words.join(", "))
        }
        Value::Object(map) => object_words(map),
    }
}

fn object_words(map: &serde_json::Map<String, Value>) -> String {
    let get = |key: &str| map.get(key).map(words_of).unwrap_or_default();
    if map.contains_key("left") {
        let operation = match get("op") {
            equal if equal == "==" || equal == "in" => String::new(),
            other => format!("{other} "),
        };
        return format!("{} {operation}{}", get("left"), get("right"));
    }
    let Some((kind, body)) = map.iter().next() else { return String::new() };
    let inner = |key: &str| body.get(key).map(words_of).unwrap_or_default();
    match kind.as_str() {
        "match" | "set" | "elem" => words_of(body),
        "val" => get("val"),
        "meta" => inner("key"),
        "ct" => format!("ct {}", inner("key")),
        "payload" => format!("{} {}", inner("protocol"), inner("field")),
        "prefix" => format!("{}/{}", inner("addr"), inner("len")),
        "range" => match body.as_array().map(Vec::as_slice) {
            Some([first, last]) => format!("{}-{}", words_of(first), words_of(last)),
            _ => kind.clone(),
        },
        "jump" | "goto" => format!("{kind} {}", inner("target")),
        "counter" | "accept" | "drop" | "reject" | "return" | "log" => kind.clone(),
        "comment" => String::new(),
        "concat" => body.as_array().map_or_else(String::new, |parts| {
            parts.iter().map(words_of).collect::<Vec<_>>().join(" . ")
        }),
        "fib" => format!("fib {} {}", inner("flags"), inner("result")),
        "vmap" => format!("{} vmap {}", inner("key"), inner("data")),
        "mangle" => format!("{} set {}", inner("key"), inner("value")),
        "dnat" | "redirect" => format!("{kind} to {}:{}", inner("addr"), inner("port")),
        _ => format!("{kind} {}", words_of(body)).trim_end().to_owned(),
    }
}
