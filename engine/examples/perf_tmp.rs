//! tmp
use nexus_engine::Engine;
use nexus_engine::io::Backend;
use nexus_protocol::*;
use std::time::Instant;
fn ev(n: u64) -> EventData {
    let pad = "abcdefghij klmnop qrstuv wxyz 0123456789 lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod";
    let mut s = format!(
        "{{\"order\":{n},\"customer\":\"c-{}\",\"total\":{},\"note\":\"{pad}{pad}\"}}",
        n % 1000,
        n * 7 % 10007
    );
    s.truncate(256);
    EventData::new("OrderPlaced", "application/json", s.into_bytes().into())
        .tag(format!("customer:{}", n % 1000))
}
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let be = std::env::args().nth(2).unwrap();
    let what = std::env::args().nth(3).unwrap();
    let _ = std::fs::remove_dir_all(&dir);
    let b: Backend = be.parse().unwrap();
    let e = Engine::options().backend(b).compress(false).open(&dir).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    if what.contains('w') {
        for (writers, batch, secs) in [(1usize, 1usize, 2u64), (8, 1, 2), (32, 1, 2), (8, 100, 4)] {
            let t = Instant::now();
            let mut lat: Vec<u64> = vec![];
            let mut total = 0u64;
            std::thread::scope(|s| {
                let hs: Vec<_> = (0..writers)
                    .map(|w| {
                        let e = e.clone();
                        s.spawn(move || {
                            let mut l = vec![];
                            let mut n = 0u64;
                            let name = format!("w{batch}-{writers}-{w}");
                            let mut exp = ExpectedRevision::NoStream;
                            while t.elapsed().as_secs() < secs {
                                let a = Append::to(name.clone())
                                    .expected(exp)
                                    .events((0..batch as u64).map(|i| ev(n + i)));
                                let q = Instant::now();
                                let r = e.append(a).wait().unwrap();
                                l.push(q.elapsed().as_nanos() as u64);
                                exp = ExpectedRevision::Exact(r.streams[0].last_revision);
                                n += batch as u64;
                            }
                            (l, n)
                        })
                    })
                    .collect();
                for h in hs {
                    let (l, n) = h.join().unwrap();
                    lat.extend(l);
                    total += n;
                }
            });
            lat.sort_unstable();
            println!(
                "{be} w{writers} b{batch}: {:.0}/s p50 {:.1}us p99 {:.1}us",
                total as f64 / t.elapsed().as_secs_f64(),
                lat[lat.len() / 2] as f64 / 1e3,
                lat[lat.len() * 99 / 100] as f64 / 1e3
            );
        }
    }
    if what.contains('r') {
        for r in 0..10 {
            for s0 in (0..10000u64).step_by(100) {
                let mut a = Append::new();
                for s in s0..s0 + 100 {
                    a = a
                        .stream(format!("st-{s}"))
                        .events((0..10).map(|i| ev(s * 100 + r * 10 + i)));
                }
                e.append(a).wait().unwrap();
            }
        }
        for _ in 0..3 {
            let t = Instant::now();
            let mut n = 0u64;
            let mut by = 0;
            for x in e.read(Read::all()) {
                let x = x.unwrap();
                by += x.data().len();
                n += 1;
            }
            println!("scan {n} {:.2}M/s {by}", n as f64 / t.elapsed().as_secs_f64() / 1e6);
        }
        let mut l = vec![];
        for i in 0..5000u64 {
            let s = (i * 7919) % 10000;
            let t = Instant::now();
            let c = e
                .read(Read::stream(format!("st-{s}")))
                .into_iter()
                .map(|x| x.unwrap().data().len())
                .count();
            l.push(t.elapsed().as_nanos() as u64);
            assert_eq!(c, 100);
        }
        l.sort_unstable();
        println!("stream100 p50 {:.1}us p99 {:.1}", l[2500] as f64 / 1e3, l[4950] as f64 / 1e3);
    }
    println!("{:?}", e.stats());
}
