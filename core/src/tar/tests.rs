use super::*;
use futures::executor::block_on;
use proptest::prelude::*;

fn stream_of(bytes: &[u8], piece: usize) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(piece.max(1)).map(Bytes::copy_from_slice).map(Ok).collect();
    stream::iter(pieces).boxed()
}

fn moved(bytes: &[u8], piece: usize, to: &str) -> Result<Vec<u8>> {
    let all: Vec<Bytes> = block_on(below(stream_of(bytes, piece), to).try_collect())?;
    Ok(all.concat())
}

/// One entry, with its padding.
fn entry(name: &[u8], flag: u8, link: &[u8], data: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[100..124].copy_from_slice(b"0000640\x000002322\x000000115\0");
    block[124..148].copy_from_slice(format!("{:011o}\x0000000000000\0", data.len()).as_bytes());
    block[148..156].fill(b' ');
    block[156] = flag;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut all = [&block[..], data].concat();
    all.resize(all.len().next_multiple_of(BLOCK), 0);
    all
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 2 * BLOCK]].concat()
}

/// `name flag link length` of every entry, as a reader takes them.
fn read(bytes: &[u8]) -> String {
    let (mut at, mut words, mut said) = (0, Words::default(), Vec::new());
    while let Some(header) = Header::read(&bytes[at..at + BLOCK]).unwrap() {
        let size = words.size.or(header.size()).unwrap() as usize;
        let data = &bytes[at + BLOCK..at + BLOCK + size];
        at += BLOCK + size.next_multiple_of(BLOCK);
        if header.flag() == b'x' {
            words.read(data).unwrap();
            continue;
        }
        let words = std::mem::take(&mut words);
        let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
        let name = text(words.path.unwrap_or(header.name()));
        let link = text(words.link.unwrap_or(header.link()));
        let rest = text(words.rest).replace('\n', ";");
        said.push(format!("{name} {} {link} {size} {rest}", header.flag() as char));
    }
    assert_eq!(&bytes[at..], [0; 2 * BLOCK], "an archive ends with two blocks of zeros");
    said.join("\n").replace("  ", " ")
}

#[test]
fn an_archive_moves_below_a_directory() {
    let long = "d/".repeat(60) + "ü";
    let words = |text: &str| {
        let n = text.len() + 5;
        entry(b"PaxHeader", b'x', b"", format!("{n:03} {text}\n").as_bytes())
    };
    let entries = [
        entry(b"./", b'5', b"", b""),
        entry(b"./a", b'0', b"", &[7; 700]),
        entry(b"./sub/", b'5', b"", b""),
        entry(b"./sub/up", b'2', b"../../out", b""),
        entry(b"./sub/hard", b'1', b"./a", b""),
        [entry(b"x", b'L', b"", long.as_bytes()), entry(b"short", b'0', b"", b"1")].concat(),
        words("comment=all of it"),
        [words("path=p/q"), words("SCHILY.xattr.user.a=b"), entry(b"no", b'0', b"", b"22")]
            .concat(),
        [words("size=3"), entry(b"sized", b'0', b"", b"333")].concat(),
    ];
    let expected = format!(
        "w/c/a 0 700 \n\
         w/c/sub/ 5 0 \n\
         w/c/sub/up 2 ../../out 0 \n\
         w/c/sub/hard 1 w/c/a 0 \n\
         w/c/{long} 0 1 \n\
         w/c/p/q 0 2 022 comment=all of it;026 SCHILY.xattr.user.a=b;\n\
         w/c/sized 0 3 "
    );
    for piece in [1, 7, 512, 100_000] {
        let moved = moved(&archive(&entries), piece, "/w/c/").unwrap();
        assert_eq!(read(&moved), expected, "{piece}");
    }
    // Modes and owners are in the same places as before.
    let one = moved(&archive(&entries[1..2]), 512, "/").unwrap();
    assert_eq!(&one[100..124], &entries[1][100..124]);
    assert_eq!(&one[BLOCK..BLOCK + 700], [7; 700]);
}

#[test]
fn what_leads_out_or_is_no_archive_is_refused() {
    let good = entry(b"a", b'0', b"", b"1");
    for bad in [
        entry(b"../a", b'0', b"", b"1"),
        entry(b"/a", b'0', b"", b"1"),
        entry(b"a/../../b", b'5', b"", b""),
        entry(b"h", b'1', b"../../etc/shadow", b""),
        entry(b"s", b'S', b"", b""),
        [entry(b"x", b'x', b"", b"11 path=/a\n"), good.clone()].concat(),
        [entry(b"x", b'x', b"", b"99 path=a\n"), good.clone()].concat(),
        vec![b'g'; 3_000],
    ] {
        let refused = moved(&archive(&[good.clone(), bad]), 512, "/w").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    let whole = archive(&[good.clone(), good]);
    for cut in [0, 100, BLOCK, BLOCK + 1, 4 * BLOCK] {
        let refused = moved(&whole[..cut], 512, "/w").unwrap_err();
        assert_eq!(refused.message(), "the archive ends in the middle", "{cut}");
    }
}

#[test]
fn a_directory_alone_holds_nothing() {
    let directory = entry(b"out/", b'5', b"", b"");
    let words = entry(b"x", b'x', b"", b"13 comment=a\n");
    let file = entry(b"out/a", b'0', b"", b"");
    assert_eq!(holds_anything(&archive(std::slice::from_ref(&directory))), Some(false));
    assert_eq!(holds_anything(&archive(&[words.clone(), directory.clone()])), Some(false));
    assert_eq!(holds_anything(&archive(&[])), Some(false));
    assert_eq!(holds_anything(&archive(&[directory.clone(), words, file.clone()])), Some(true));
    assert_eq!(holds_anything(&file), Some(true));
    assert_eq!(holds_anything(&directory), None);
    assert_eq!(holds_anything(&directory[..511]), None);
}

proptest! {
    #[test]
    fn whatever_comes_is_moved_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
        names in proptest::collection::vec("[a-c./]{1,20}", 0..5),
        piece in 1_usize..900,
    ) {
        let _ = moved(&bytes, piece, "/w");
        let entries: Vec<_> =
            names.iter().map(|name| entry(name.as_bytes(), b'0', b"", b"12")).collect();
        if let Ok(moved) = moved(&archive(&entries), piece, "/w") {
            for line in read(&moved).lines() {
                prop_assert!(line.starts_with("w/") && !line.contains("/../"), "{line}");
            }
        }
    }
}
