//! Stamps and checksums against their references, and the defects that they are there to catch.

use kernels::checksum::{self, Checksum};
use kernels::gpu::{DeviceBuffer, Error};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::stamp::{self, BlockContents, Stamp};

use crate::suite::{Suite, scrambled};

const BLOCKS: u32 = 11;

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    let (stamp, checksum) = (Stamp::load(&suite.gpu)?, Checksum::load(&suite.gpu)?);
    for order in [KvOrder::LayerMajor, KvOrder::BlockMajor] {
        for (kv_heads, block_tokens, head_dim) in [(1, 4, 8), (5, 16, 16), (3, 16, 128)] {
            let layout = KvLayout {
                order,
                block_count: 13,
                layers: 3,
                kv_heads,
                block_tokens,
                head_dim,
            };
            one_layout(suite, &stamp, &checksum, layout)?;
        }
    }
    Ok(())
}

fn one_layout(
    suite: &mut Suite,
    stamp: &Stamp,
    checksum: &Checksum,
    layout: KvLayout,
) -> Result<(), Error> {
    let name = |what: &str| {
        format!(
            "{what} {:?}, pieces of {} B",
            layout.order,
            layout.piece_bytes()
        )
    };
    let pool = suite.poisoned(layout.pool_bytes())?;
    let ids: Vec<i32> = scrambled(7, layout.block_count)[..BLOCKS as usize].to_vec();
    let contents: Vec<u64> = (0..u64::from(BLOCKS))
        .map(|i| (i << 40) | (i * i + 1))
        .collect();
    let (ids_gpu, contents_gpu) = (suite.upload(&ids)?, suite.upload(&contents)?);
    let blocks = BlockContents {
        pool: KvPool {
            layout,
            view: pool.view(),
        },
        blocks: ids_gpu.view(),
        contents: contents_gpu.view(),
        block_count: BLOCKS,
        ctas: 3,
    };
    stamp.write(&suite.stream, &blocks)?;
    let mut want = vec![0xff; layout.pool_bytes() as usize];
    let slots: Vec<u8> = contents
        .iter()
        .flat_map(|&content| stamp::reference(&layout, content))
        .collect();
    let order: Vec<i32> = (0..BLOCKS as i32).collect();
    kernels::scatter::reference(&layout, &slots, &mut want, &order, &ids);
    suite.equal(
        &name("stamp"),
        &suite.stream.download::<u8>(pool.view())?,
        &want,
    );

    let mismatches = DeviceBuffer::new(&suite.gpu, 4 * u64::from(BLOCKS))?;
    let digests = DeviceBuffer::new(&suite.gpu, 8 * u64::from(BLOCKS))?;
    stamp.verify(&suite.stream, &blocks, mismatches.view())?;
    let found: Vec<u32> = suite.stream.download(mismatches.view())?;
    suite.equal(
        &name("stamp_verify, all intact"),
        &found,
        &[0; BLOCKS as usize],
    );
    checksum.launch(&suite.stream, &blocks, digests.view())?;
    let clean: Vec<u64> = suite.stream.download(digests.view())?;
    let expected: Vec<u64> = slots
        .chunks_exact(layout.block_bytes() as usize)
        .zip(&contents)
        .map(|(block, &content)| checksum::reference(content, block))
        .collect();
    suite.equal(&name("checksum"), &clean, &expected);

    // One byte flipped in the last piece of the block with content 4; contents 5 and 6 exchanged.
    let at =
        layout.piece_offset(ids[4] as u32, layout.piece_count() - 1) + layout.piece_bytes() - 1;
    let byte: Vec<u8> = suite.stream.download(pool.view().slice(at, 1)?)?;
    suite
        .stream
        .upload(pool.view().slice(at, 1)?, &[byte[0] ^ 0x10])?;
    let mut exchanged = contents.clone();
    exchanged.swap(5, 6);
    let exchanged_gpu = suite.upload(&exchanged)?;
    let wrong = BlockContents {
        contents: exchanged_gpu.view(),
        ..blocks
    };
    let words = (layout.block_bytes() / 8) as u32;
    let mut damage = [0; BLOCKS as usize];
    (damage[4], damage[5], damage[6]) = (1, words, words);
    stamp.verify(&suite.stream, &wrong, mismatches.view())?;
    let found: Vec<u32> = suite.stream.download(mismatches.view())?;
    suite.equal(
        &name("stamp_verify, one byte and two names wrong"),
        &found,
        &damage,
    );
    checksum.launch(&suite.stream, &wrong, digests.view())?;
    let now: Vec<u64> = suite.stream.download(digests.view())?;
    let changed: Vec<usize> = (0..now.len()).filter(|&i| now[i] != clean[i]).collect();
    suite.equal(&name("checksum, blocks that differ"), &changed, &[4, 5, 6]);
    Ok(())
}
