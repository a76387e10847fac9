//! Copies byte for byte: gather, scatter, both through a staging buffer, batches in every form that the driver has, the host pool.

use kernels::gather::{self, Gather, GatherBlocks};
use kernels::gpu::{BatchCopy, BatchMethod, DeviceBuffer, Error, HostPool, Piece, View};
use kernels::kv::{KvLayout, KvOrder, KvPool};
use kernels::mix::mix64;
use kernels::scatter::{self, Scatter, ScatterBlocks};
use kernels::staged::{StagedBlocks, StagedCopy};

use crate::suite::{Suite, scrambled};

pub fn check(suite: &mut Suite) -> Result<(), Error> {
    let (gather, scatter) = (Gather::load(&suite.gpu)?, Scatter::load(&suite.gpu)?);
    for order in [KvOrder::LayerMajor, KvOrder::BlockMajor] {
        // Pieces of 64 B (below a tile), 2,560 B (a partial tile), 4 KiB (one tile), 40 KiB (ten tiles).
        for (kv_heads, block_tokens, head_dim) in
            [(1, 4, 8), (5, 16, 16), (1, 16, 128), (10, 16, 128)]
        {
            let layout = KvLayout {
                order,
                block_count: 29,
                layers: 3,
                kv_heads,
                block_tokens,
                head_dim,
            };
            // 23 blocks on 7 CTAs of 8 warps: neither blocks nor tiles divide the grid.
            blocks_both_ways(suite, &gather, &scatter, layout, 23, 7)?;
            // Chunks of five: five of them, the last of three.
            staged_both_ways(suite, layout, 23, 5)?;
        }
    }
    for method in [BatchMethod::Second, BatchMethod::First, BatchMethod::Loop] {
        batch(suite, method)?;
    }
    host_pool(suite)
}

fn noise(seed: u64, bytes: u64) -> Vec<u8> {
    (0..bytes.div_ceil(8))
        .flat_map(|i| mix64(seed ^ i).to_le_bytes())
        .take(bytes as usize)
        .collect()
}

fn blocks_both_ways(
    suite: &mut Suite,
    gather: &Gather,
    scatter: &Scatter,
    layout: KvLayout,
    block_count: u32,
    ctas: u32,
) -> Result<(), Error> {
    let name = |what: &str| {
        format!(
            "{what} {:?}, pieces of {} B",
            layout.order,
            layout.piece_bytes()
        )
    };
    let slot_count = block_count + 4;
    let slots_bytes = u64::from(slot_count) * layout.block_bytes();
    let before = noise(1, layout.pool_bytes());
    let pool = suite.upload(&before)?;
    let host = HostPool::new(&suite.gpu, slots_bytes, 2, &mut |_| ())?;
    let slots = host.view().slice(0, slots_bytes)?;
    suite.stream.fill(slots, 0xa5)?;
    let blocks: Vec<i32> = scrambled(2, layout.block_count)[..block_count as usize].to_vec();
    let places: Vec<i32> = scrambled(3, slot_count)[..block_count as usize].to_vec();
    let (blocks_gpu, places_gpu) = (suite.upload(&blocks)?, suite.upload(&places)?);
    let kv = KvPool {
        layout,
        view: pool.view(),
    };
    gather.launch(
        &suite.stream,
        &GatherBlocks {
            pool: kv,
            slots,
            from: blocks_gpu.view(),
            to: places_gpu.view(),
            block_count,
            ctas,
        },
    )?;
    suite.stream.synchronize()?;
    let mut have = vec![0; slots_bytes as usize];
    host.read(0, &mut have);
    let mut want = vec![0xa5; slots_bytes as usize];
    gather::reference(&layout, &before, &mut want, &blocks, &places);
    suite.equal(&name("gather to host"), &have, &want);

    // Back into another pool, one block further each: the untouched ones keep their poison.
    let other = suite.poisoned(layout.pool_bytes())?;
    let targets: Vec<i32> = blocks
        .iter()
        .map(|block| (block + 1) % layout.block_count as i32)
        .collect();
    let targets_gpu = suite.upload(&targets)?;
    let kv = KvPool {
        layout,
        view: other.view(),
    };
    scatter.launch(
        &suite.stream,
        &ScatterBlocks {
            pool: kv,
            slots,
            from: places_gpu.view(),
            to: targets_gpu.view(),
            block_count,
            ctas,
        },
    )?;
    let have: Vec<u8> = suite.stream.download(other.view())?;
    let mut back = vec![0xff; layout.pool_bytes() as usize];
    scatter::reference(&layout, &want, &mut back, &places, &targets);
    suite.equal(&name("scatter from host"), &have, &back);
    Ok(())
}

fn staged_both_ways(
    suite: &mut Suite,
    layout: KvLayout,
    block_count: u32,
    chunk_blocks: u32,
) -> Result<(), Error> {
    let name = |what: &str| {
        format!(
            "{what} {:?}, pieces of {} B",
            layout.order,
            layout.piece_bytes()
        )
    };
    let slot_count = block_count + 4;
    let slots_bytes = u64::from(slot_count) * layout.block_bytes();
    let before = noise(6, layout.pool_bytes());
    let pool = suite.upload(&before)?;
    let host = HostPool::new(&suite.gpu, slots_bytes, 2, &mut |_| ())?;
    suite.stream.fill(host.view(), 0xa5)?;
    let blocks: Vec<i32> = scrambled(2, layout.block_count)[..block_count as usize].to_vec();
    let places: Vec<i32> = scrambled(3, slot_count)[..block_count as usize].to_vec();
    let slots: Vec<u32> = places.iter().map(|&place| place as u32).collect();
    let blocks_gpu = suite.upload(&blocks)?;
    let (out, back) = (
        StagedCopy::new(&suite.gpu, layout.block_bytes(), chunk_blocks, 3)?,
        StagedCopy::new(&suite.gpu, layout.block_bytes(), chunk_blocks, 3)?,
    );
    let moved = StagedBlocks {
        pool: KvPool {
            layout,
            view: pool.view(),
        },
        host: host.view(),
        blocks: blocks_gpu.view(),
        slots: &slots,
    };
    // Out, then the pool poisoned, then back, without a wait of the host in between.
    out.leave(&suite.stream, &moved)?;
    suite.stream.fill(pool.view(), 0xff)?;
    back.enter(&suite.stream, &moved)?;
    suite.stream.synchronize()?;
    let mut have = vec![0; slots_bytes as usize];
    host.read(0, &mut have);
    let mut want = vec![0xa5; slots_bytes as usize];
    gather::reference(&layout, &before, &mut want, &blocks, &places);
    suite.equal(&name("staged to host"), &have, &want);
    let mut restored = vec![0xff; layout.pool_bytes() as usize];
    scatter::reference(&layout, &want, &mut restored, &places, &blocks);
    suite.equal(
        &name("staged from host"),
        &suite.stream.download::<u8>(pool.view())?,
        &restored,
    );
    Ok(())
}

fn batch(suite: &mut Suite, method: BatchMethod) -> Result<(), Error> {
    let mut copy = BatchCopy::new(&suite.gpu);
    if copy.prefer(method) != method {
        println!("absent batch copy {method:?}: this driver does not have it");
        return Ok(());
    }
    // 37 pieces of 1 to 37 * 16 B, in reverse order, to the device and back.
    let bytes: u64 = (1..=37).map(|i| i * 16).sum();
    let mut host = HostPool::new(&suite.gpu, 2 * bytes, 2, &mut |_| ())?;
    let source = noise(4, bytes);
    host.write(0, &source);
    let device = DeviceBuffer::new(&suite.gpu, bytes)?;
    let starts: Vec<u64> = (1..=37)
        .scan(0, |at, i| Some(std::mem::replace(at, *at + i * 16)))
        .collect();
    let pieces = |to: View, from: View| -> Result<Vec<Piece>, Error> {
        let piece = |(i, &start): (usize, &u64)| -> Result<Piece, Error> {
            let length = (i as u64 + 1) * 16;
            Ok(Piece {
                to: to.slice(start, length)?,
                from: from.slice(bytes - start - length, length)?,
            })
        };
        starts.iter().enumerate().map(piece).collect()
    };
    copy.submit(
        &suite.stream,
        &pieces(device.view(), host.view().slice(0, bytes)?)?,
    )?;
    copy.submit(
        &suite.stream,
        &pieces(host.view().slice(bytes, bytes)?, device.view())?,
    )?;
    suite.stream.synchronize()?;
    let mut have = vec![0; bytes as usize];
    host.read(bytes, &mut have);
    let mut middle = vec![0; bytes as usize];
    let mut want = vec![0; bytes as usize];
    mirror(&mut middle, &source, &starts, bytes);
    mirror(&mut want, &middle, &starts, bytes);
    suite.equal(
        &format!("batch copy {method:?}, 37 pieces there and back"),
        &have,
        &want,
    );
    Ok(())
}

fn mirror(to: &mut [u8], from: &[u8], starts: &[u64], bytes: u64) {
    for (i, &start) in starts.iter().enumerate() {
        let length = (i + 1) * 16;
        let source = bytes as usize - start as usize - length;
        to[start as usize..][..length].copy_from_slice(&from[source..][..length]);
    }
}

fn host_pool(suite: &mut Suite) -> Result<(), Error> {
    // 131 MiB is no whole number of touching steps.
    let bytes = 131 << 20;
    let mut pool = HostPool::new(&suite.gpu, bytes, 4, &mut |_| ())?;
    let source = noise(5, 4096);
    pool.write(bytes - 4096, &source);
    let device = DeviceBuffer::new(&suite.gpu, 4096)?;
    suite
        .stream
        .copy(device.view(), pool.view().slice(bytes - 4096, 4096)?)?;
    let have: Vec<u8> = suite.stream.download(device.view())?;
    suite.equal("host pool, last page to the device", &have, &source);
    let refused = pool.view().slice(bytes - 4095, 4096);
    suite.holds(
        "host pool, a page past its end",
        refused.is_err(),
        "refused",
    );
    Ok(())
}
