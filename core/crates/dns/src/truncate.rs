//! Cutting a finished message down to a size (RFC 1035, 4.1.1; RFC 2181, 9).

use crate::{Flags, HEADER_LEN, Message, Section};

/// Cuts whole records off the end until the message has at most `limit` octets, corrects the counts, and gives the
/// new length. `None` if the bytes are not a message or `limit` is below a header.
///
/// TC is set when answers or authority records went; additional ones may go without notice (RFC 2181, 9).
/// OPT stays as long as the question does, because who asked relies on it; it then is the last record. A message that
/// fits is not touched.
#[must_use]
pub fn truncate(packet: &mut [u8], limit: usize) -> Option<usize> {
    let message = Message::parse(packet).ok()?;
    if packet.len() <= limit {
        return Some(packet.len());
    }
    if limit < HEADER_LEN {
        return None;
    }
    let opt = find_opt(&message);
    let opt_len = opt.map_or(0, |(start, end)| end - start);
    let questions_end = message.records(Section::Answer).offset();
    let [questions, ..] = message.header().counts;
    let mut kept = [questions, 0, 0, 0];
    let mut end = questions_end;
    let keeps_opt = questions_end + opt_len <= limit;
    let budget = if keeps_opt { limit - opt_len } else { limit };
    if questions_end > limit {
        (end, kept) = (HEADER_LEN, [0; 4]);
    } else {
        'sections: for section in [Section::Answer, Section::Authority, Section::Additional] {
            let mut records = message.records(section);
            loop {
                let start = records.offset();
                // OPT is moved below; what follows it cannot stay where it is.
                if opt.is_some_and(|(opt_start, _)| opt_start == start) {
                    break 'sections;
                }
                if records.next().is_none() {
                    break;
                }
                if records.offset() > budget {
                    break 'sections;
                }
                end = records.offset();
                if let Some(count) = kept.get_mut(section.index()) {
                    *count += 1;
                }
            }
        }
    }
    let [_, answers, authorities, additionals] = message.header().counts;
    let [_, kept_answers, kept_authorities, _] = kept;
    let cut = kept_answers < answers || kept_authorities < authorities;
    let flags = message.header().flags;
    let flags = if cut { flags.with(Flags::TC, true) } else { flags };
    if let Some((start, opt_end)) = opt.filter(|_| keeps_opt && additionals > 0) {
        packet.copy_within(start..opt_end, end);
        end += opt_len;
        let [.., count] = &mut kept;
        *count += 1;
    }
    let counts = kept.map(u16::to_be_bytes);
    let tail = [flags.0.to_be_bytes(), counts[0], counts[1], counts[2], counts[3]];
    for (to, from) in packet.iter_mut().skip(2).zip(tail.as_flattened()) {
        *to = *from;
    }
    Some(end)
}

/// Where the OPT record starts and ends.
fn find_opt(message: &Message<'_>) -> Option<(usize, usize)> {
    message.opt()?;
    let mut records = message.records(Section::Additional);
    loop {
        let start = records.offset();
        if records.next()?.rtype == crate::RecordType::OPT {
            return Some((start, records.offset()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Class, ClientSubnet, Name, OptHeader, RecordType};
    use std::vec::Vec;

    /// A question, three answers of 16 octets, one authority and two additional records, and OPT before the last.
    fn message() -> Vec<u8> {
        let mut buf = std::vec![0; 512];
        let owner: Name = "a.consul".parse().expect("a name");
        let mut b = Builder::new(&mut buf, 512, 7, Flags(Flags::QR)).expect("room");
        let at = b.question(&owner, RecordType::A, Class::IN).expect("room");
        for i in 1..=3 {
            b.address(Section::Answer, at, 0, [10, 0, 0, i].into()).expect("room");
        }
        b.name_record(Section::Authority, at, RecordType::NS, 0, &owner).expect("room");
        b.address(Section::Additional, at, 0, [10, 0, 0, 8].into()).expect("room");
        let subnet = ClientSubnet { address: [10, 1, 0, 0].into(), source_prefix: 16, scope_prefix: 0 };
        b.opt(OptHeader { payload: 512, rcode_high: 0, version: 0, dnssec_ok: false }, Some(&subnet)).expect("room");
        b.address(Section::Additional, at, 0, [10, 0, 0, 9].into()).expect("room");
        let len = b.finish();
        buf.truncate(len);
        buf
    }

    #[test]
    fn records_go_from_the_end_and_opt_stays() {
        let whole = message();
        assert_eq!(whole.len(), 26 + 3 * 16 + 14 + 16 + 21 + 16);
        // limit, length, counts, TC
        let table = [
            (141, 141, [1, 3, 1, 3], false),
            (140, 125, [1, 3, 1, 2], false),
            (124, 109, [1, 3, 1, 1], false),
            (108, 95, [1, 3, 0, 1], true),
            (94, 79, [1, 2, 0, 1], true),
            (47, 47, [1, 0, 0, 1], true),
            (46, 42, [1, 1, 0, 0], true),
            (26, 26, [1, 0, 0, 0], true),
            (25, 12, [0, 0, 0, 0], true),
        ];
        for (limit, len, counts, tc) in table {
            let mut packet = whole.clone();
            assert_eq!(truncate(&mut packet, limit), Some(len), "limit {limit}");
            let cut = Message::parse(&packet[..len]).expect("well-formed");
            assert_eq!(cut.header().counts, counts, "limit {limit}");
            assert_eq!(cut.header().flags.has(Flags::TC), tc, "limit {limit}");
            assert_eq!(cut.end(), len);
            assert_eq!(cut.opt().is_some(), counts[3] > 0);
        }
    }

    #[test]
    fn nothing_to_cut_and_nothing_to_read() {
        let mut packet = message();
        assert_eq!(truncate(&mut packet, 512), Some(141));
        assert_eq!(packet, message());
        assert_eq!(truncate(&mut packet, 11), None);
        assert_eq!(truncate(&mut packet[..100], 512), None);
    }
}
