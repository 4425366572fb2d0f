//! The DNS codec takes any bytes.

use convoke_dns::{Builder, Class, Flags, Message, Name, RecordType, truncate};

/// Decoding is total, and whatever decodes can be walked to its end.
#[test]
fn decode() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(message) = Message::parse(bytes) else { return };
        assert!(message.end() <= bytes.len());
        for question in message.questions() {
            let name = question.name.to_string();
            let back: Name = name.parse().expect("a printed name parses");
            assert_eq!(back.to_string(), name);
        }
    });
}

/// Truncation keeps to its limit and leaves a message.
#[test]
fn cut() {
    bolero::check!().with_type::<(u16, Vec<u8>)>().for_each(|(limit, bytes)| {
        if Message::parse(bytes).is_err() {
            return;
        }
        let mut cut = bytes.clone();
        if let Some(len) = truncate(&mut cut, usize::from(*limit)) {
            assert!(len <= usize::from(*limit) && len <= bytes.len());
            Message::parse(&cut[..len]).expect("what is left is a message");
        }
    });
}

/// Names from text and from labels never pass the limits of RFC 1035.
#[test]
fn names() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = core::str::from_utf8(bytes) else { return };
        let Ok(name) = text.parse::<Name>() else { return };
        let mut buf = [0; 600];
        let mut b = Builder::new(&mut buf, 600, 7, Flags(Flags::QR)).expect("a header fits");
        b.question(&name, RecordType::ANY, Class::IN).expect("any name fits");
        let len = b.finish();
        let message = Message::parse(&buf[..len]).expect("what is built decodes");
        let question = message.questions().next().expect("one question");
        assert_eq!(question.name.to_string(), name.to_string());
    });
}
