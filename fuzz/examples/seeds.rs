//! Writes the seed corpora of the fuzz targets into `corpus/`: one small sound stream for each kind
//! of command, so that the fuzzer does not have to guess them. Run it in this directory:
//! `cargo run --example seeds`.

use std::{fs, io, path::Path};

/// Auto dialect, and a seed for the cuts.
const PREFIX: [u8; 5] = [2, 1, 2, 3, 4];

const TEXT: &[&str] = &[
    "get a b\r\ngets a\r\nget absent\n",
    "gat 10 a b\r\ngats -1 a\r\ntouch a 2592001 noreply\r\n",
    "set k 0 0 5\r\nhello\r\nget k\r\n",
    "set k 0 0 1\r\nabc\r\nmn\r\n",
    "set k x 0 1\r\na\r\ncas k 7 -1 2 99 noreply\r\nxy\r\n",
    "add k 1 2 0\r\n\r\nreplace k 1 2 0\r\n\r\nappend k 0 0 1\r\na\r\nprepend k 0 0 1\r\na\r\n",
    "set k 0 0 -1\r\nflush_all\r\n",
    "incr K.lock 1\r\nadd K.lock 768 15 1\r\n1\r\nget K\r\n",
    "decr n 5 noreply\r\ndelete n 0\r\ndelete n noreply\r\n",
    "mg key t v s f k Oreq7 q c h l u E1 R30 N60 T90\r\nmn\r\n",
    "ms key 2 T60 F5 ME C7 E9 I c k\r\nhi\r\nms YWJj 0 b\r\n\r\n",
    "md key q I T30 x\r\nma key N0 J10 D5 MD v t c\r\nme YWJj b\r\n",
    "mg k v v\r\nmg k Nx\r\nma k S\r\nms k 1 MZ\r\na\r\nmg abc b\r\n",
    "stats\r\nstats items\r\nstats detail on\r\nstats cachedump 1 0\r\nstats malloc\r\n",
    "slabs reassign -1 0\r\nslabs automove ratio 0.5\r\nslabs automove window 30\r\n",
    "lru tune 20 40 0.2 2\r\nlru mode flat\r\nlru temp_ttl -1\r\n",
    "lru_crawler crawl 1,2\r\nlru_crawler metadump all\r\nlru_crawler sleep 5\r\n",
    "version\r\nverbosity 1\r\nflush_all 10\r\ncache_memlimit 64\r\nshutdown graceful\r\nquit\r\n",
    "extstore max_frag 0.5\r\nrefresh_certs\r\nwatch fetchers mutations\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "foo noreply\r\n\r\nab\nabc\n",
];

/// Opcode, extras, key and value of single requests.
const BINARY: &[(u8, &[u8], &[u8], &[u8])] = &[
    (0x00, b"", b"key", b""),
    (0x0d, b"", b"key", b""),
    (0x01, b"flagexpi", b"key", b"value"),
    (0x12, b"flagexpi", b"key", b""),
    (0x0e, b"", b"key", b"tail"),
    (0x14, b"", b"key", b""),
    (0x05, b"deltadelinitinitexpi", b"key", b""),
    (0x08, b"expi", b"", b""),
    (0x0a, b"", b"", b""),
    (0x0b, b"", b"", b""),
    (0x10, b"", b"detail dump", b""),
    (0x1c, b"expi", b"key", b""),
    (0x24, b"expi", b"key", b""),
    (0x21, b"", b"PLAIN", b"\0user\0password"),
    (0x77, b"extra", b"key", b"value"),
    (0x07, b"", b"", b""),
];

const USERS: &[&str] = &[
    "app:secret\nbob:a:b c\n#c:x",
    "a:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n",
    "u:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
     wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n",
    "h:$2y$05$abc\nh:x\r\n\n",
];

const LOGINS: &[&str] = &[
    "set auth 0 0 9\r\napp wrong\r\nget k\r\nset k 0 0 1\r\nv\r\n",
    "set auth 0 0 9\r\napp wrongX\r\nmg k v\r\n",
    "set auth 0 0 16385\r\n",
    "GET / HTTP/1.1\r\n",
];

const SASL: &[(u8, &[u8], &[u8])] = &[
    (0x20, b"", b""),
    (0x0b, b"", b""),
    (0x21, b"PLAIN", b"\0app\0wrong"),
    (0x21, b"SCRAM-SHA-256", b"n,,n=app,r=abc"),
    (0x22, b"SCRAM-SHA-256", b"c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    (0x22, b"SCRAM-SHA-256", b""),
    (0x00, b"k", b""),
];

fn main() -> io::Result<()> {
    let folder = Path::new("corpus/decoder");
    fs::create_dir_all(folder)?;
    for (index, stream) in TEXT.iter().enumerate() {
        write(&folder.join(format!("text-{index:02}")), stream.as_bytes())?;
    }
    let noop = frame(0x0a, b"", b"", b"");
    for (index, &(opcode, extras, key, value)) in BINARY.iter().enumerate() {
        let stream = [frame(opcode, extras, key, value), noop.clone()].concat();
        write(&folder.join(format!("binary-{index:02}")), &stream)?;
    }
    println!("{} seeds in {}", TEXT.len() + BINARY.len(), folder.display());
    logins()
}

/// For the target `login`: files of users behind a 0, conversations behind a 255.
fn logins() -> io::Result<()> {
    let folder = Path::new("corpus/login");
    fs::create_dir_all(folder)?;
    for (index, file) in USERS.iter().enumerate() {
        fs::write(folder.join(format!("file-{index:02}")), [b"\0", file.as_bytes()].concat())?;
    }
    for (index, line) in LOGINS.iter().enumerate() {
        fs::write(folder.join(format!("text-{index:02}")), [b"\xff", line.as_bytes()].concat())?;
    }
    let sasl: Vec<u8> =
        SASL.iter().flat_map(|(op, key, value)| frame(*op, b"", key, value)).collect();
    fs::write(folder.join("sasl"), [b"\xff".as_slice(), &sasl].concat())?;
    println!("{} seeds in {}", USERS.len() + LOGINS.len() + 1, folder.display());
    Ok(())
}

fn write(path: &Path, stream: &[u8]) -> io::Result<()> {
    fs::write(path, [&PREFIX, stream].concat())
}

fn frame(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    // The constants above are short: no length here comes near its field.
    let mut frame = vec![0x80, opcode, 0, key.len() as u8, extras.len() as u8, 0, 0, 0, 0, 0, 0];
    frame.push((extras.len() + key.len() + value.len()) as u8);
    frame.extend_from_slice(b"opaqcas-cas-");
    [&frame[..], extras, key, value].concat()
}
