//! What an attacker may put into a datagram: every command of every protocol, as dear as it gets.

/// Key of the large item.
pub(crate) const LARGE: &str = "big";
/// Bytes of its value: the largest that default servers keep, less what they add to it.
pub(crate) const LARGE_BYTES: usize = (1 << 20) - 512;

/// Keys of a request for the large item many times: 1.4 KB, a whole frame on the wire.
const MANY: usize = 340;
/// Bytes of a request that has to travel as several IP fragments.
const FRAGMENTED: usize = 8000;

/// One UDP payload, frame included, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) name: String,
    payload: Vec<u8>,
    /// Whether there is a frame to bear an id.
    is_framed: bool,
}

impl Request {
    fn framed(name: String, payload: Vec<u8>) -> Self {
        Self { name, payload, is_framed: true }
    }

    /// Whether it empties or shrinks the cache, or ends the server, if it is executed.
    fn empties(&self) -> bool {
        let opcodes = ["binary 08", "binary 18"];
        opcodes.iter().any(|name| self.name.starts_with(name))
            || DESTRUCTIVE.iter().any(|text| self.name == shown(text))
    }

    /// The payload, with that request id in its frame if it has one.
    pub(crate) fn with_id(&self, id: u16) -> Vec<u8> {
        let mut payload = self.payload.clone();
        if self.is_framed {
            payload[..2].copy_from_slice(&id.to_be_bytes());
        }
        payload
    }
}

/// Commands of the text and meta protocols that end nobody's stay and change no item but their own.
const TEXT: [&str; 62] = [
    "get big\r\n",
    "gets big\r\n",
    "gat 0 big\r\n",
    "gats 0 big\r\n",
    "get big big big big big big big big big big\r\n",
    "get big\r\nget big\r\nget big\r\n",
    "get missing\r\n",
    "get a-key-that-nobody-has-ever-stored-here\r\n",
    "mg big v\r\n",
    "mg big v k f t s c h l O1234\r\n",
    "mg big b v\r\n",
    "mg missing v\r\n",
    "mg missing N60 v k O1234\r\n",
    "mn\r\n",
    "me big\r\n",
    "me missing\r\n",
    "ms small 1\r\nx\r\n",
    "ms small 1 k O1234 c b\r\nx\r\n",
    "md missing q\r\n",
    "md missing k O1234\r\n",
    "ma counter N0 J5 v k t c\r\n",
    "ma missing\r\n",
    "set small 0 0 1\r\nx\r\n",
    "set small 0 0 1 noreply\r\nx\r\n",
    "add small 0 0 1\r\nx\r\n",
    "replace small 0 0 1\r\nx\r\n",
    "append small 0 0 1\r\nx\r\n",
    "prepend small 0 0 1\r\nx\r\n",
    "cas small 0 0 1 1\r\nx\r\n",
    "delete missing\r\n",
    "incr counter 1\r\n",
    "decr counter 1\r\n",
    "touch big 0\r\n",
    "stats\r\n",
    "stats settings\r\n",
    "stats items\r\n",
    "stats slabs\r\n",
    "stats sizes\r\n",
    "stats conns\r\n",
    "stats detail on\r\n",
    "stats detail dump\r\n",
    "stats detail off\r\n",
    "stats reset\r\n",
    "stats cachedump 1 0\r\n",
    "stats nonsense\r\n",
    "version\r\n",
    "verbosity 0\r\n",
    "watch\r\n",
    "watch fetchers mutations evictions connevents\r\n",
    "lru_crawler metadump all\r\n",
    "lru_crawler metadump hash\r\n",
    "lru_crawler mgdump all\r\n",
    "lru_crawler crawl all\r\n",
    "lru tune 10 25 0.1 2.0\r\n",
    "lru mode segmented\r\n",
    "slabs automove 0\r\n",
    "slabs reassign 1 2\r\n",
    "extstore free_memchunks 0 0\r\n",
    "refresh_certs\r\n",
    "nonsense\r\n",
    "\r\n",
    "quit\r\n",
];

/// Those that empty or shrink the cache: they come last.
const DESTRUCTIVE: [&str; 6] = [
    "cache_memlimit 1024\r\n",
    "shutdown\r\n",
    "shutdown graceful\r\n",
    "delete big\r\n",
    "flush_all 3600\r\n",
    "flush_all\r\n",
];

/// All of them, the destructive ones last.
pub(crate) fn all() -> Vec<Request> {
    let mut requests: Vec<Request> = TEXT.iter().map(|text| framed(text)).collect();
    requests.push(framed(&format!("get{}\r\n", " big".repeat(MANY))));
    requests.push(framed(&format!("mg big v{}\r\n", " O12345678901234567890".repeat(30))));
    requests.push(framed(&format!("get big{}\r\n", " ".repeat(1000))));
    requests.push(framed(&"mn\r\n".repeat(MANY)));
    requests.push(framed(&"mg big v\r\n".repeat(MANY / 10)));
    requests.push(framed(&format!("get{}\r\n", " big".repeat(FRAGMENTED / 4))));
    requests.push(framed(&"version\r\n".repeat(FRAGMENTED / 9)));
    requests.push(framed(&"x".repeat(FRAGMENTED)));
    requests.extend((0..=0x25_u8).flat_map(binary));
    requests.extend(in_pieces("get big\r\n"));
    requests.extend(in_pieces(&format!("get{}\r\n", " big".repeat(MANY))));
    requests.extend(without_frame());
    requests.extend(DESTRUCTIVE.iter().map(|text| framed(text)));
    requests
}

/// The same, without what would end the measuring.
pub(crate) fn harmless() -> Vec<Request> {
    let mut requests = all();
    requests.retain(|request| !request.empties());
    requests
}

/// Only that, and what could be had before and after it.
pub(crate) fn emptying() -> Vec<Request> {
    let dear = ["get big\r\n", "get big big big big big big big big big big\r\n", "stats\r\n"];
    let mut requests: Vec<Request> = dear.iter().map(|text| framed(text)).collect();
    requests.extend(all().into_iter().filter(Request::empties));
    requests.extend(dear.iter().map(|text| framed(text)));
    requests
}

fn framed(text: &str) -> Request {
    Request::framed(shown(text), frame(0, 1, text.as_bytes()))
}

fn shown(text: &str) -> String {
    let line: String = text.chars().take(40).collect();
    let name = line.escape_default().to_string();
    if text.len() > 40 { format!("{name}... ({} bytes)", text.len()) } else { name }
}

fn frame(sequence: u16, count: u16, body: &[u8]) -> Vec<u8> {
    let words = [0_u16, sequence, count, 0];
    let mut payload: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    payload.extend(body);
    payload
}

/// One opcode with the large item's key, and without any key, its extras as the opcode wants them.
fn binary(opcode: u8) -> Vec<Request> {
    let with_key = |key: &str| {
        let extras: &[u8] = match opcode {
            // Storage: flags and exptime. Arithmetic: delta, initial value, exptime. Touch, gat.
            0x01..=0x03 | 0x11..=0x13 => &[0; 8],
            0x05 | 0x06 | 0x15 | 0x16 => &[0; 20],
            0x08 | 0x18 | 0x1b | 0x1c | 0x1d | 0x1e | 0x23 | 0x24 => &[0; 4],
            _ => &[],
        };
        // What would replace the large item is aimed at another.
        let reads = matches!(opcode, 0x00 | 0x09 | 0x0c | 0x0d | 0x1c..=0x1e | 0x23 | 0x24);
        let key = if key.is_empty() || reads { key } else { "small" };
        let mut request = vec![0x80, opcode, 0, key.len() as u8, extras.len() as u8, 0, 0, 0];
        request.extend(((extras.len() + key.len()) as u32).to_be_bytes());
        request.extend([0; 12]);
        request.extend(extras);
        request.extend(key.as_bytes());
        let kind = if key.is_empty() { " without key" } else { "" };
        let name = format!("binary {opcode:02x}{kind}");
        Request::framed(name, frame(0, 1, &request))
    };
    vec![with_key(LARGE), with_key("")]
}

/// One request in two datagrams, in order, and each alone.
fn in_pieces(text: &str) -> Vec<Request> {
    let (first, second) = text.as_bytes().split_at(text.len() / 2);
    let name = |part| format!("{} in two datagrams, {part}", shown(text));
    vec![
        Request::framed(name("first"), frame(0, 2, first)),
        Request::framed(name("second"), frame(1, 2, second)),
        Request::framed(name("whole, said to be of two"), frame(0, 2, text.as_bytes())),
        Request::framed(name("whole, of another"), frame(1, 2, text.as_bytes())),
        Request::framed(name("of none"), frame(0, 0, text.as_bytes())),
    ]
}

/// What is no framed request at all.
fn without_frame() -> Vec<Request> {
    let bodies: [(&str, &[u8]); 4] = [
        ("nothing", b""),
        ("half a frame", b"\0\0\0\0"),
        ("a frame alone", b"\0\0\0\0\0\x01\0\0"),
        ("a command without frame", b"get big\r\n"),
    ];
    let request = |(name, body): (&str, &[u8])| {
        let is_framed = body.len() >= 8 && body[0] == 0;
        Request { name: name.into(), payload: body.into(), is_framed }
    };
    bodies.into_iter().map(request).collect()
}
