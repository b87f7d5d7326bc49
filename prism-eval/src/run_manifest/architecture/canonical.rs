//! One spelling of a JSON value: keys sorted by their bytes, no whitespace.
use serde_json::Value;

/// The canonical bytes: mappings by key, no whitespace, text as UTF-8.
#[must_use]
pub fn canonical_json(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            bytes.push(b'[');
            for (at, item) in items.iter().enumerate() {
                separate(at, bytes);
                write(item, bytes);
            }
            bytes.push(b']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_bytes());
            bytes.push(b'{');
            for (at, (key, item)) in sorted.into_iter().enumerate() {
                separate(at, bytes);
                write(&Value::String(key.clone()), bytes);
                bytes.push(b':');
                write(item, bytes);
            }
            bytes.push(b'}');
        }
        // A value without parts has one spelling, and a vector takes it.
        plain => bytes.extend(plain.to_string().into_bytes()),
    }
}

fn separate(at: usize, bytes: &mut Vec<u8>) {
    if at > 0 {
        bytes.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_level_and_nothing_is_between() {
        let value = json!({ "b": [1, { "z": null, "a": "ü\"\n" }], "a": 1.5 });
        assert_eq!(canonical_json(&value), "{\"a\":1.5,\"b\":[1,{\"a\":\"ü\\\"\\n\",\"z\":null}]}".as_bytes());
    }
}
