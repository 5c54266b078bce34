// The npm package eventsource among the contenders: see live_contenders.py for what it reads and
// writes. node live_eventsource.mjs FOLDER URL STREAMS, where FOLDER is what npm installed into.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, url, streams] = process.argv.slice(2);
const count = Number(streams);
const tell = (figures) => console.log(JSON.stringify(figures));
const quit = (figures) => {
  tell(figures);
  process.exit();
};

let EventSource;
try {
  ({ EventSource } = createRequire(`${folder}/`)("eventsource"));
} catch {
  quit({ skipped: "needs: npm install --prefix build/npm eventsource" });
}

const arrived = [];
const began = process.hrtime.bigint();
let total = count;
let reached;
const expect = (events) =>
  new Promise((resolve) => {
    total = events;
    reached = resolve;
    if (arrived.length >= total) resolve();
  });
let failure = null;
for (let n = 0; n < count; n++) {
  const source = new EventSource(url);
  source.onmessage = (event) => {
    arrived.push([process.hrtime.bigint(), event.data]);
    if (arrived.length === total) reached?.();
  };
  source.onerror = (event) => {
    failure ??= String(event.message ?? "an error event");
    source.close();
  };
}

const patience = setTimeout(
  () => quit({ failed: failure ?? `${arrived.length} of ${count} streams are open` }),
  60_000,
);
await expect(count);
clearTimeout(patience);
tell({ open_seconds: Number(process.hrtime.bigint() - began) / 1e9, threads: 1 });

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const [first, last, sent] = (await lines.next()).value.split(" ").map(BigInt);
await Promise.race([
  expect(Number(sent)),
  new Promise((resolve) => setTimeout(resolve, 60_000)),
]);
const expected = new Array(count).fill(0);
let gaps = 0;
for (const [, data] of arrived) {
  const [, stream, sequence] = data.split(" ", 3).map(Number);
  if (sequence !== expected[stream]) gaps += 1;
  expected[stream] = sequence + 1;
}
if (gaps > 0 || arrived.length !== Number(sent)) {
  quit({ failed: failure ?? `${arrived.length} of ${sent} events have arrived, ${gaps} gaps` });
}
const delays = arrived
  .filter(([now]) => first <= now && now < last)
  .map(([now, data]) => Number(now - BigInt(data.split(" ", 1)[0])) / 1e6)
  .sort((a, b) => a - b);
if (delays.length === 0) quit({ failed: "no event was received while it was measured" });
quit({
  events: delays.length,
  median: delays[Math.floor(delays.length / 2)],
  p99: delays[Math.floor(delays.length * 0.99)],
});
