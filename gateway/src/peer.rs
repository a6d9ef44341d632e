//! Whose address a call came from.
//!
//! A header can say anything, so one is believed only when the connection comes from a trusted
//! proxy, and then only up to the first address that is not one: each proxy writes whom it was
//! called by at the end, so whatever a client sent itself stands before that.
//!
//! One header is believed, the one the provider's proxies write. The other would be what the
//! client sent, passed on by a proxy that does not know it; so would `X-Real-IP` and its like,
//! which are never read.
//!
//! Lists are split from their end and by bytes. A client's part that is no text, or opens a quote
//! that it does not close, then spoils itself and not what a proxy wrote behind it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use serde::Deserialize;

/// Most proxies in a row that are looked behind.
const HOPS_MAX: usize = 32;

/// The header in which the provider's proxies say whom they were called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: 198.51.100.1, 10.0.0.2`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=198.51.100.1;proto=https, for="[2001:db8::2]:1234"`.
    ///
    /// Source: RFC 7239.
    Forwarded,
}

/// Whose word on a client's address is taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    pub(crate) proxies: Vec<Network>,
    pub(crate) header: ForwardedHeader,
}

/// An address, or a network in prefix notation: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// Takes `10.0.0.0/8`, `2001:db8::/32`, or a single address.
    ///
    /// # Errors
    /// What is wrong, to stand behind the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let sent: IpAddr =
            address.parse().map_err(|_| "is not an address or network such as 10.0.0.0/8")?;
        let sent_width = width(sent);
        let prefix_bits = match bits.map(str::parse::<u32>) {
            None => sent_width,
            Some(Ok(bits)) if bits <= sent_width => bits,
            Some(_) => return Err(format!("has a prefix that is not 1 to {sent_width}")),
        };
        // `::ffff:10.0.0.0/104` is `10.0.0.0/8`, since callers' addresses are written like that.
        let address = sent.to_canonical();
        let prefix_bits = prefix_bits.saturating_sub(sent_width - width(address));
        if prefix_bits == 0 {
            return Err("trusts everybody, so that anyone could send any address; \
                 list the proxies themselves"
                .to_owned());
        }
        let network = Self { address, prefix_bits };
        match network.first() == bits_of(address) {
            true => Ok(network),
            false => Err(format!("has bits of an address behind its prefix of {prefix_bits}")),
        }
    }

    /// The network's address as a number, with nothing behind the prefix.
    fn first(self) -> u128 {
        let host_bits = width(self.address) - self.prefix_bits;
        bits_of(self.address) >> host_bits << host_bits
    }

    fn contains(self, address: IpAddr) -> bool {
        let host_bits = width(self.address) - self.prefix_bits;
        address.is_ipv4() == self.address.is_ipv4()
            && bits_of(self.address) >> host_bits == bits_of(address) >> host_bits
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of the client behind `peer`, the other end of the connection. An IPv4 address that
/// came over an IPv6 socket is the IPv4 address.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trust: &Trust) -> IpAddr {
    let is_trusted = |address: IpAddr| trust.proxies.iter().any(|n| n.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match trust.header {
        ForwardedHeader::XForwardedFor => ("x-forwarded-for", node),
        ForwardedHeader::Forwarded => ("forwarded", forwarded_for),
    };
    let hops = headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(HOPS_MAX) {
        // A proxy that hides its caller, or nonsense: nothing before it is worth more.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(read) else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// The address in `for=` of one element of `Forwarded`. Every pair of it must be well formed: a
/// piece of a quoted text that holds commas is not taken for an element.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.trim().split(';') {
        let (name, value) = pair.split_once('=')?;
        let is_plain = |text: &str| !text.contains(['"', '\\']);
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => value,
        };
        if !is_plain(name) || !is_plain(value) {
            return None;
        }
        if name.trim().eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            found = Some(node(value)?);
        }
    }
    found
}

/// An address as proxies write it: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
}

/// In the extensions of a request: the address of its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl ClientAddress {
    /// The address, or the unspecified one for a request that came over no connection.
    pub(crate) fn of(extensions: &http::Extensions) -> IpAddr {
        extensions.get::<Self>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |Self(address)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "198.51.100.1";
    const PROXY: &str = "10.1.2.3";
    const STRANGER: &str = "203.0.113.7";

    fn trust(header: ForwardedHeader) -> Trust {
        let proxies = ["10.0.0.0/8", "::1", "2001:db8:ffff::/48"];
        Trust { proxies: proxies.map(|text| Network::parse(text).unwrap()).to_vec(), header }
    }

    fn found(peer: &str, sent: &[(&'static str, &[u8])], trust: &Trust) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, trust).to_string()
    }

    #[test]
    fn x_forwarded_for_is_believed_from_trusted_proxies_up_to_the_first_stranger() {
        let trust = trust(ForwardedHeader::XForwardedFor);
        for (peer, lines, client) in [
            // Sent to us directly.
            (STRANGER, &[CLIENT.as_bytes()][..], STRANGER),
            (STRANGER, &[b"10.1.2.3"], STRANGER),
            (STRANGER, &[b"127.0.0.1, 10.1.2.3"], STRANGER),
            ("::ffff:203.0.113.7", &[b"1.1.1.1"], STRANGER),
            // Through one proxy, with and without something before it.
            (PROXY, &[], PROXY),
            (PROXY, &[b""], PROXY),
            (PROXY, &[CLIENT.as_bytes()], CLIENT),
            ("::ffff:10.1.2.3", &[CLIENT.as_bytes()], CLIENT),
            (PROXY, &[b"1.1.1.1, 198.51.100.1"], CLIENT),
            (PROXY, &[b"127.0.0.1,10.9.9.9,1.1.1.1 , 198.51.100.1"], CLIENT),
            (PROXY, &[b"1.1.1.1", CLIENT.as_bytes()], CLIENT),
            (PROXY, &[b"\xff\xfe, 198.51.100.1"], CLIENT),
            (PROXY, &[b"\"1.1.1.1, 198.51.100.1"], CLIENT),
            (PROXY, &[b"1.1.1.1, ::ffff:198.51.100.1"], CLIENT),
            // Through two.
            (PROXY, &[b"198.51.100.1, 10.9.9.9"], CLIENT),
            (PROXY, &[b"1.1.1.1, 198.51.100.1, ::ffff:10.9.9.9"], CLIENT),
            ("2001:db8:ffff::1", &[b"198.51.100.1", b"10.9.9.9"], CLIENT),
            // What says nothing ends at the last that was believed.
            (PROXY, &[b"nonsense"], PROXY),
            (PROXY, &[b"198.51.100.1, unknown"], PROXY),
            (PROXY, &[b"198.51.100.1,"], PROXY),
            (PROXY, &[b"198.51.100.1, \xff"], PROXY),
            (PROXY, &[b"198.51.100.1, unknown, 10.9.9.9"], "10.9.9.9"),
            (PROXY, &[b"999.1.1.1"], PROXY),
            (PROXY, &[b"10.7.7.7, 10.9.9.9"], "10.7.7.7"),
            // With a port, and IPv6.
            (PROXY, &[b"198.51.100.1:4711"], CLIENT),
            ("::1", &[b"2001:db8::1"], "2001:db8::1"),
            (PROXY, &[b"[2001:db8::1]:443"], "2001:db8::1"),
            (PROXY, &[b"[2001:db8::1]"], "2001:db8::1"),
        ] {
            let sent: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let shown: Vec<_> = lines.iter().map(|line| line.escape_ascii().to_string()).collect();
            assert_eq!(found(peer, &sent, &trust), client, "{peer} {shown:?}");
        }
    }

    #[test]
    fn forwarded_is_read_likewise() {
        let trust = trust(ForwardedHeader::Forwarded);
        for (peer, value, client) in [
            (STRANGER, "for=198.51.100.1", STRANGER),
            (PROXY, "for=198.51.100.1", CLIENT),
            (PROXY, "For=\"198.51.100.1:4711\";Proto=https;by=10.0.0.1", CLIENT),
            (PROXY, "proto=https; for=198.51.100.1", CLIENT),
            (PROXY, "for=1.1.1.1, for=198.51.100.1", CLIENT),
            (PROXY, "for=198.51.100.1, for=10.9.9.9;host=x", CLIENT),
            (PROXY, "for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            // A quote that is not closed does not swallow what a proxy wrote.
            (PROXY, "for=\"1.1.1.1, for=198.51.100.1", CLIENT),
            // The client chose the host, and with it what stands in quotes.
            (PROXY, "for=198.51.100.1;host=\"x,for=1.1.1.1\"", PROXY),
            (PROXY, "for=198.51.100.1;host=\"x,for=1.1.1.1\";proto=https", PROXY),
            (PROXY, "for=198.51.100.1;host=\"x,for=1.1.1.1;a=\\\"b\"", PROXY),
            (PROXY, "for=198.51.100.1;for=1.1.1.1", PROXY),
            // Hidden on purpose.
            (PROXY, "for=unknown", PROXY),
            (PROXY, "for=_hidden", PROXY),
            (PROXY, "for=198.51.100.1, for=_hidden, for=10.9.9.9", "10.9.9.9"),
            (PROXY, "198.51.100.1", PROXY),
            (PROXY, "proto=https", PROXY),
            (PROXY, "", PROXY),
        ] {
            let sent = [("forwarded", value.as_bytes())];
            assert_eq!(found(peer, &sent, &trust), client, "{peer} {value}");
        }
    }

    #[test]
    fn no_other_header_is_believed() {
        let all = [
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "x-client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "x-forwarded",
            "x-cluster-client-ip",
            "x-originating-ip",
        ];
        for (header, believed) in [
            (ForwardedHeader::XForwardedFor, "x-forwarded-for"),
            (ForwardedHeader::Forwarded, "forwarded"),
        ] {
            for name in all.into_iter().filter(|name| *name != believed) {
                for value in [CLIENT, "for=198.51.100.1"] {
                    let sent = [(name, value.as_bytes())];
                    assert_eq!(found(PROXY, &sent, &trust(header)), PROXY, "{name}: {value}");
                }
            }
        }
    }

    #[test]
    fn without_trusted_proxies_only_the_peer_counts() {
        let sent = [("x-forwarded-for", CLIENT.as_bytes()), ("forwarded", b"for=1.1.1.1")];
        for peer in [STRANGER, "10.1.2.3", "127.0.0.1", "::1"] {
            assert_eq!(found(peer, &sent, &Trust::default()), peer);
        }
    }

    #[test]
    fn a_list_without_end_is_not_read_to_it() {
        let long = "10.9.9.9,".repeat(10_000) + "10.9.9.8";
        let sent = [("x-forwarded-for", long.as_bytes())];
        assert_eq!(found(PROXY, &sent, &trust(ForwardedHeader::XForwardedFor)), "10.9.9.9");
    }

    #[test]
    fn networks_parse() {
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/x",
            "10.0.0.0/",
            "host",
            "10.0.0.0/-1",
            "10.0.0.1/8",
            "2001:db8::1/64",
            "0.0.0.0/0",
            "::/0",
            "::ffff:0:0/96",
            " 10.0.0.1",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.0"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
            ("::1", "::1", "0.0.0.1"),
            ("128.0.0.0/1", "255.0.0.0", "127.0.0.1"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
    }
}
