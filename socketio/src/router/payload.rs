//! Values of the application to the arguments of events, and back, by `serde`.
//!
//! Binary data travels beside the JSON, as attachments. [`Binary`] is how a type says where it stands. While a value is being
//! written or read, the attachments are in a variable of the thread, because serde has no other place for them.

use std::{cell::RefCell, ops::Deref};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::value::RawValue;

use crate::{
    adapter::{EventData, OwnedArgs, ServerReply},
    packet::Args,
    parser::attachments,
};

/// The attachments of a value.
#[derive(Default)]
struct Attachments {
    list: Vec<Bytes>,
    /// How many placeholders were written.
    placed: usize,
}

impl Attachments {
    /// Adds an attachment, unless it is there: a client may name one of its attachments any number of times, and would otherwise
    /// make as many of it. Returns its number.
    fn place(&mut self, bytes: &Bytes) -> usize {
        self.placed += 1;
        let is_same = |other: &Bytes| (other.as_ptr(), other.len()) == (bytes.as_ptr(), bytes.len());
        self.list.iter().position(is_same).unwrap_or_else(|| {
            self.list.push(bytes.clone());
            self.list.len() - 1
        })
    }
}

thread_local! {
    /// Those of the value that this thread is writing or reading; `None` when it does neither.
    static ATTACHMENTS: RefCell<Option<Attachments>> = const { RefCell::new(None) };
}

/// Sets the thread's attachments while `work` runs, and returns them with its result.
fn with_attachments<R>(list: Vec<Bytes>, work: impl FnOnce() -> R) -> (R, Attachments) {
    /// Puts back what was there before, also after a panic in a `Serialize` of the application.
    struct Restore(Option<Attachments>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ATTACHMENTS.set(self.0.take());
        }
    }
    let restore = Restore(ATTACHMENTS.replace(Some(Attachments { list, placed: 0 })));
    let result = work();
    let attachments = ATTACHMENTS.take().unwrap_or_default();
    drop(restore);
    (result, attachments)
}

/// Binary data in the payload of an event: an `ArrayBuffer`, `Blob` or `Buffer` in JavaScript.
///
/// It may stand anywhere in a value that is emitted or received. Outside of events it cannot be serialised.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct Upload {
///     name: String,
///     content: socketio::Binary,
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Binary(pub Bytes);

impl Deref for Binary {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl<T: Into<Bytes>> From<T> for Binary {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = ATTACHMENTS.with_borrow_mut(|attachments| Some(attachments.as_mut()?.place(&self.0)));
        let number = number.ok_or_else(|| serde::ser::Error::custom("binary data outside of an event"))?;
        // Socket.IO protocol v5, "Sending and receiving data": the placeholder has the number of its attachment.
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("_placeholder", &true)?;
        map.serialize_entry("num", &number)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Placeholder {
            #[serde(rename = "_placeholder")]
            is_placeholder: bool,
            num: usize,
        }
        let Placeholder { is_placeholder, num } = Placeholder::deserialize(deserializer)
            .map_err(|error| de::Error::custom(format_args!("expected binary data: {error}")))?;
        let attachment = ATTACHMENTS.with_borrow(|attachments| attachments.as_ref()?.list.get(num).cloned());
        attachment.filter(|_| is_placeholder).map(Self).ok_or_else(|| de::Error::custom("expected binary data"))
    }
}

/// A value could not be made into the arguments of an event, or arguments into a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PayloadError(String);

impl From<serde_json::Error> for PayloadError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// The arguments of an event that is about to be sent: JSON values joined by commas, and their attachments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) args: String,
    pub(crate) attachments: Vec<Bytes>,
}

impl Written {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.args.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// One argument.
    pub(crate) fn one<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let (args, Attachments { list, placed }) = with_attachments(Vec::new(), || serde_json::to_string(value));
        let args = args?;
        // A client would take it for an attachment, or end the connection when there is none of its number.
        if !list.is_empty() && attachments::count(&args) != placed {
            return Err(PayloadError("beside binary data there is data that looks like binary data".to_owned()));
        }
        Ok(Self { args, attachments: list })
    }

    /// As many arguments as a tuple or list has items; none for `()`.
    pub(crate) fn all<T: Serialize + ?Sized>(values: &T) -> Result<Self, PayloadError> {
        let Self { mut args, attachments } = Self::one(values)?;
        if args == "null" {
            args.clear();
        } else if args.starts_with('[') {
            args.pop();
            args.remove(0);
        } else {
            return Err(PayloadError("several arguments are a tuple, an array or a Vec".to_owned()));
        }
        Ok(Self { args, attachments })
    }
}

/// Reads one argument. An absent one is read as `null`, as a JavaScript function sees it: so an `Option` may be left out.
pub(crate) fn read_one<T: de::DeserializeOwned>(args: &Args<'_>, index: usize) -> Result<T, PayloadError> {
    let json = args.get(index).unwrap_or("null");
    read(json, args.attachments()).map_err(|PayloadError(error)| match args.get(index) {
        Some(_) => PayloadError(format!("argument {}: {error}", index + 1)),
        None => PayloadError(format!("argument {} is missing", index + 1)),
    })
}

/// Reads all arguments as a tuple or list.
pub(crate) fn read_all<T: de::DeserializeOwned>(args: &Args<'_>) -> Result<T, PayloadError> {
    read(&format!("[{}]", args.raw()), args.attachments())
        .map_err(|PayloadError(error)| PayloadError(format!("arguments: {error}")))
}

/// Reads JSON whose placeholders stand for these attachments.
pub(crate) fn read<T: de::DeserializeOwned>(json: &str, attachments: &[Bytes]) -> Result<T, PayloadError> {
    if attachments.is_empty() {
        // What looks like a placeholder in a packet without attachments is plain data.
        return Ok(serde_json::from_str(json)?);
    }
    let (value, _) = with_attachments(attachments.to_vec(), || serde_json::from_str(json));
    Ok(value?)
}

impl EventData {
    /// The first argument, read as a `T`; as `null` when there is none.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn first<T: de::DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let args = format!("[{}]", self.args);
        let items: Vec<&RawValue> = serde_json::from_str(&args)?;
        read(items.first().map_or("null", |item| item.get()), &self.attachments)
    }
}

/// The arguments of an acknowledgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer(pub OwnedArgs);

impl Answer {
    /// The first argument; read as `null` when there is none.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn first<T: de::DeserializeOwned>(&self) -> Result<T, PayloadError> {
        read(self.0.first().unwrap_or("null"), &self.0.attachments)
    }

    /// All arguments, as a tuple or list.
    ///
    /// # Errors
    /// When they are of other types, or not as many.
    pub fn all<T: de::DeserializeOwned>(&self) -> Result<T, PayloadError> {
        read(&format!("[{}]", self.0.raw()), &self.0.attachments)
    }
}

impl ServerReply {
    /// Answers with one argument.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn send_value<T: Serialize + ?Sized>(self, value: &T) -> Result<(), PayloadError> {
        let Written { args, attachments } = Written::one(value)?;
        self.send(OwnedArgs { args: vec![args], attachments });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Upload {
        name: String,
        parts: Vec<Binary>,
    }

    #[test]
    fn binary_data_becomes_placeholders_and_attachments_and_comes_back() {
        let upload = Upload { name: "a".to_owned(), parts: vec![Binary::from("x"), Binary::from("yz")] };
        let written = Written::one(&upload).unwrap();
        let expected = r#"{"name":"a","parts":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}"#;
        assert_eq!(written.args, expected);
        assert_eq!(written.attachments, ["x", "yz"].map(Bytes::from));
        assert_eq!(read::<Upload>(&written.args, &written.attachments).unwrap(), upload);
    }

    #[test]
    fn what_looks_like_a_placeholder_in_a_text_event_is_no_binary_data() {
        let error = read::<Binary>(r#"{"_placeholder":true,"num":0}"#, &[]).unwrap_err();
        assert!(error.to_string().contains("binary data"), "{error}");
        let error = read::<Binary>(r#"{"_placeholder":true,"num":1}"#, &[Bytes::new()]).unwrap_err();
        assert!(error.to_string().contains("binary data"), "{error}");
        let error = read::<Binary>(r#"{"_placeholder":false,"num":0}"#, &[Bytes::new()]).unwrap_err();
        assert!(error.to_string().contains("binary data"), "{error}");
    }

    #[test]
    fn an_attachment_that_a_client_names_often_is_sent_once() {
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        let named = format!("[{}]", [placeholder; 1000].join(","));
        let data: Vec<Binary> = read(&named, &[Bytes::from(vec![7; 100_000])]).unwrap();
        let written = Written::one(&data).unwrap();
        assert_eq!((written.args, written.attachments.len()), (named, 1));
        let written = Written::all(&(Binary::from(vec![1]), Binary::from(vec![1]), Binary::default())).unwrap();
        assert_eq!(written.attachments.len(), 3, "equal, but not the same");
    }

    #[test]
    fn what_looks_like_a_placeholder_does_not_go_out_beside_binary_data() {
        for num in [0, 7] {
            let text = json!([{ "_placeholder": true, "num": num }]);
            assert!(Written::all(&(&text, 1)).is_ok(), "without attachments it is plain data");
            let error = Written::all(&(&text, Binary::from("x"))).unwrap_err();
            assert!(error.to_string().contains("looks like binary data"), "{error}");
        }
    }

    #[test]
    fn binary_data_outside_of_an_event_is_an_error() {
        assert!(serde_json::to_string(&Binary::from("x")).is_err());
    }

    #[test]
    fn several_arguments_are_a_sequence_and_none_is_a_unit() {
        assert_eq!(Written::all(&(1, "two", json!({ "three": 3 }))).unwrap().args, r#"1,"two",{"three":3}"#);
        assert_eq!(Written::all(&vec![1, 2]).unwrap().args, "1,2");
        assert_eq!(Written::all(&()).unwrap().args, "");
        assert_eq!(Written::all(&Vec::<u8>::new()).unwrap().args, "");
        assert!(Written::all(&json!({ "no": "list" })).is_err());
        assert_eq!(Written::one(&(1, 2)).unwrap().args, "[1,2]");
    }

    #[test]
    fn an_answer_gives_its_first_argument_or_all() {
        let args = [r#"{"a":"[,"}"#, "2"].map(str::to_owned).to_vec();
        let answer = Answer(OwnedArgs { args, attachments: Vec::new() });
        assert_eq!(answer.all::<(serde_json::Value, u8)>().unwrap(), (json!({ "a": "[," }), 2));
        assert_eq!(answer.first::<serde_json::Value>().unwrap(), json!({ "a": "[," }));
        assert_eq!(Answer::default().first::<Option<u8>>().unwrap(), None);
    }
}
