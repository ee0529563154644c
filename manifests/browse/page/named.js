// Pairs that are asked for by their keys, each once: what is wanted at the same moment is one request.

import { ask } from "./dom.js";

const MOST = 100, REMEMBERED = 2_000;
const known = new Map();  // key -> promise of the pair, undefined if there is none
let waiting = new Map();  // key -> resolve and reject

async function fetchAll() {
  const wanted = waiting, keys = [...wanted.keys()];
  waiting = new Map();
  for (let start = 0; start < keys.length; start += MOST) {
    const some = keys.slice(start, start + MOST);
    try {
      const found = new Map((await ask("named", { keys: some.join(",") })).map((row) => [row.pair, row]));
      for (const key of some) wanted.get(key).resolve(found.get(key));
    } catch (error) {
      for (const key of some) { known.delete(key); wanted.get(key).reject(error); }
    }
  }
}

/** The pair of a key, as a row of the view `pairs`; undefined if the page shows none of that key. */
export function named(key) {
  if (known.has(key)) return known.get(key);
  if (known.size > REMEMBERED) known.delete(known.keys().next().value);
  const promise = new Promise((resolve, reject) => {
    if (!waiting.size) setTimeout(fetchAll);
    waiting.set(key, { resolve, reject });
  });
  known.set(key, promise);
  return promise;
}
