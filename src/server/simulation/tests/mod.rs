use super::*;

#[test]
fn smoke() {
    let mut state = 1u64;
    let mut next = || { state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (state >> 33) as u32 };
    for n in 0..20000 {
        let world = std::array::from_fn(|_| next());
        let length = next() % 24;
        let script = (0..length).map(|_| next()).collect();
        let schedule = (0..400).map(|_| next()).collect();
        let tape = Tape { world, script, schedule };
        let run1 = run(&tape);
        if let Some(violation) = &run1.violation {
            let (_, lines) = trace::record(|| run(&tape));
            panic!("{n}: {violation}\n{}\n{}\n{:?}", Script::decode(&tape), lines.join("\n"), run1.stats);
        }
    }
}
