//! Redis Cluster's map: which of its 16,384 slots a key lies in, and which master holds a slot.

use ::redis::Value;

/// Slots of every cluster, whatever its size.
const SLOTS: u16 = 16_384;

/// The divisor of CRC-16/XMODEM, which the protocol of Redis Cluster fixes.
const POLYNOMIAL: u16 = 0x1021;

/// A host and a port.
pub(super) type Address = (String, u16);

/// Returns the slot of a key: of what stands in its first braces, if there is something.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag });
    crc16(tag.as_bytes()) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL }
        })
    })
}

/// A run of slots and the master that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    first: u16,
    last: u16,
    master: Address,
}

/// Who holds what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// In order, without overlap.
    runs: Vec<Run>,
}

impl SlotMap {
    /// Reads the answer of `CLUSTER SLOTS` of the node at `asked`, which may leave its own host
    /// out; `None` if it is no such answer or holds nothing.
    pub(super) fn read(answer: Value, asked: &Address) -> Option<Self> {
        let mut runs: Vec<Run> = answer
            .into_sequence()
            .ok()?
            .into_iter()
            .map(|run| read_run(run, asked))
            .collect::<Option<_>>()?;
        runs.sort_by_key(|run| run.first);
        (!runs.is_empty()).then_some(Self { runs })
    }

    /// Returns the master of a slot; none while nobody holds it.
    pub(super) fn master_of(&self, slot: u16) -> Option<&Address> {
        let after = self.runs.partition_point(|run| run.first <= slot);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (slot <= run.last).then_some(&run.master)
    }

    /// Returns every master, some more than once.
    pub(super) fn masters(&self) -> impl Iterator<Item = &Address> {
        self.runs.iter().map(|run| &run.master)
    }
}

/// Reads `[first, last, [host, port, id, …], replicas…]`.
fn read_run(run: Value, asked: &Address) -> Option<Run> {
    let mut parts = run.into_sequence().ok()?.into_iter();
    let first = number(parts.next()?)?;
    let last = number(parts.next()?)?;
    let mut master = parts.next()?.into_sequence().ok()?.into_iter();
    // A node that does not know its own address, or was told not to name it, says nothing or "?".
    let host = ::redis::from_redis_value::<Option<String>>(master.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty() && host != "?");
    let port = number(master.next()?)?;
    Some(Run { first, last, master: (host.unwrap_or_else(|| asked.0.clone()), port) })
}

fn number(value: Value) -> Option<u16> {
    ::redis::from_redis_value(value).ok()
}

/// Reads the address of a redirection, `host:port`; the host may be left out as above.
pub(super) fn address_of(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = if host.is_empty() || host == "?" { &asked.0 } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Shard;

    #[test]
    fn slots_are_those_of_the_servers() {
        // As `CLUSTER KEYSLOT` of Redis 7.0 answers.
        let known = [13907, 9842, 5649, 1584, 14039, 9974, 5781, 1716];
        for (shard, slot) in (0..).map(Shard).zip(known) {
            assert_eq!(slot_of(&shard.events_key("trb")), slot);
            assert_eq!(slot_of(&shard.probe_key("another")), slot, "the prefix does not matter");
        }
        for (key, slot) in [("123456789", 0x31c3), ("foo{}{bar}", 8363), ("", 0), ("a{b", 13340)] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
        assert_eq!(slot_of("{{bar}}zap"), slot_of("x{{bar}"));
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn run(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node.clone(), node])
    }

    #[test]
    fn a_slot_has_the_master_of_its_run_or_none() {
        let asked = ("asked".to_owned(), 1);
        let answer = Value::Array(vec![
            run(10_923, 16_383, text("c"), 3),
            run(0, 5460, Value::Nil, 1),
            run(5461, 9999, text("?"), 2),
        ]);
        let map = SlotMap::read(answer, &asked).unwrap();
        let master = |slot| map.master_of(slot).map(|(host, port)| format!("{host}:{port}"));
        assert_eq!(master(0).as_deref(), Some("asked:1"));
        assert_eq!(master(5460).as_deref(), Some("asked:1"));
        assert_eq!(master(5461).as_deref(), Some("asked:2"));
        assert_eq!(master(10_000), None, "nobody holds it");
        assert_eq!(master(16_383).as_deref(), Some("c:3"));
        for odd in [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Int(1)])] {
            assert_eq!(SlotMap::read(odd, &asked), None);
        }
    }

    #[test]
    fn a_redirection_names_its_node() {
        let asked = ("10.0.0.1".to_owned(), 1);
        for (told, meant) in [
            ("10.0.0.2:7000", Some(("10.0.0.2", 7000))),
            (":7000", Some(("10.0.0.1", 7000))),
            ("?:7000", Some(("10.0.0.1", 7000))),
            ("fe80::1:7000", Some(("fe80::1", 7000))),
            ("nothing", None),
            ("a:b", None),
        ] {
            let meant = meant.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(address_of(told, &asked), meant, "{told}");
        }
    }
}
