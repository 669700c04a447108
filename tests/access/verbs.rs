//! Every verb that names a key, in every form, aimed at one key.

/// A text or meta request about `{K}`, and whether it asks for silence.
pub(crate) const LINES: &[(&str, bool)] = &[
    ("get {K}", false),
    ("gets {K}", false),
    ("gat 100 {K}", false),
    ("gats 100 {K}", false),
    ("set {K} 0 0 3\r\nnew", false),
    ("add {K} 0 0 3\r\nnew", false),
    ("replace {K} 0 0 3\r\nnew", false),
    ("append {K} 0 0 3\r\nnew", false),
    ("prepend {K} 0 0 3\r\nnew", false),
    ("cas {K} 0 0 3 1\r\nnew", false),
    ("touch {K} 100", false),
    ("incr {K} 1", false),
    ("decr {K} 1", false),
    ("delete {K}", false),
    ("set {K} 0 0 3 noreply\r\nnew", true),
    ("add {K} 0 0 3 noreply\r\nnew", true),
    ("replace {K} 0 0 3 noreply\r\nnew", true),
    ("append {K} 0 0 3 noreply\r\nnew", true),
    ("prepend {K} 0 0 3 noreply\r\nnew", true),
    ("cas {K} 0 0 3 1 noreply\r\nnew", true),
    ("touch {K} 100 noreply", true),
    ("incr {K} 1 noreply", true),
    ("decr {K} 1 noreply", true),
    ("delete {K} noreply", true),
    // Meta's quiet flag hides what is expected, not errors.
    ("mg {K}", false),
    ("mg {K} v", false),
    ("mg {K} v q k", false),
    ("mg {K} v T100", false),
    ("mg {K} v N100", false),
    ("mg {K} v R100", false),
    ("mg {B} b v", false),
    ("ms {K} 3\r\nnew", false),
    ("ms {K} 3 q\r\nnew", false),
    ("ms {K} 3 MA\r\nnew", false),
    ("ms {B} 3 b\r\nnew", false),
    ("md {K}", false),
    ("md {K} q", false),
    ("md {K} I T30", false),
    ("md {B} b", false),
    ("ma {K} v", false),
    ("ma {K} q N0 J5", false),
    ("ma {K} MD v", false),
    ("ma {B} b", false),
    ("me {K}", false),
    ("me {B} b", false),
];

/// A binary request's opcode, extras and value, for one key.
pub(crate) const FRAMES: &[(u8, &[u8], &[u8])] = &[
    (0x00, b"", b""),             // get
    (0x09, b"", b""),             // getq
    (0x0c, b"", b""),             // getk
    (0x0d, b"", b""),             // getkq
    (0x1c, &[0, 0, 0, 100], b""), // touch
    (0x1d, &[0, 0, 0, 100], b""), // gat
    (0x1e, &[0, 0, 0, 100], b""), // gatq
    (0x23, &[0, 0, 0, 100], b""), // gatk
    (0x24, &[0, 0, 0, 100], b""), // gatkq
    (0x01, &[0; 8], b"new"),      // set
    (0x11, &[0; 8], b"new"),      // setq
    (0x02, &[0; 8], b"new"),      // add
    (0x12, &[0; 8], b"new"),      // addq
    (0x03, &[0; 8], b"new"),      // replace
    (0x13, &[0; 8], b"new"),      // replaceq
    (0x0e, b"", b"new"),          // append
    (0x19, b"", b"new"),          // appendq
    (0x0f, b"", b"new"),          // prepend
    (0x1a, b"", b"new"),          // prependq
    (0x04, b"", b""),             // delete
    (0x14, b"", b""),             // deleteq
    (0x05, &[0; 20], b""),        // incr
    (0x15, &[0; 20], b""),        // incrq
    (0x06, &[0; 20], b""),        // decr
    (0x16, &[0; 20], b""),        // decrq
];

/// One request frame.
pub(crate) fn frame(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, opcode];
    bytes.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
    bytes.extend([u8::try_from(extras.len()).unwrap(), 0, 0, 0]);
    let body = extras.len() + key.len() + value.len();
    bytes.extend(u32::try_from(body).unwrap().to_be_bytes());
    bytes.extend([0; 12]);
    for part in [extras, key, value] {
        bytes.extend(part);
    }
    bytes
}
