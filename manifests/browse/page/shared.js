// What a page without a server answers: from the sample that it was written with (manifests/browse/share.py).

const PAGE_PAIRS = 24;

/** The answers of the server that pages ask of, for the pairs of a sample; null if there is none. */
export function sampled(sample) {
  if (!sample) return null;
  const listed = sample.listed.map((key) => sample.pairs.get(key));
  const parts = { pairs: (query) => page(listed, query), named: ({ keys }) => keys.split(",").map((key) => sample.pairs.get(key)).filter(Boolean),
    overview: () => sample.overview, scores: () => sample.scores, statistics: ({ task, part }) => {
      const counted = sample.statistics.get(task ?? "");
      if (!counted) throw new Error(`There is no task ${task} here.`);
      return { [part]: counted[part] };
    } };
  return {
    answer(path, query) {
      const [name, key, ...more] = path.split("/"), pair = sample.pairs.get(decodeURIComponent(key ?? ""));
      if (name === "pair" && !pair) throw new Error("This pair is not in the sample that this page was written with.");
      if (name === "pair" && !more.length) return pair;
      if (name in parts) return parts[name](query);
      throw new Error("A shared page does not have this: open the dataset with xprompt browse.");
    },
    picture: (pair, role) => sample.images.get(pair)?.get(role) ?? "data:,",
  };
}

/** A page of the pairs with an example as it is asked for, as manifests/browse/pairs.py has it. */
function page(pairs, query) {
  const text = (query.text ?? "").toLowerCase(), has = (value) => (value ?? "").toLowerCase().includes(text);
  const bound = (name, other) => (query[name] ?? "") === "" ? other : Number(query[name]);
  const wanted = (example) => (!query.direction || example.direction === query.direction) && (!query.kind || example.kind === query.kind)
    && (!text || has(example.instruction) || has(example.text));
  const inBounds = (value) => value !== undefined && value >= bound("min", -Infinity) && value <= bound("max", Infinity);
  const found = pairs.filter((pair) => (!query.task || pair.task === query.task) && (!query.score || inBounds(pair.scores[query.score])))
    .map((pair) => ({ pair, example: pair.examples.find(wanted) })).filter(({ example }) => example)
    .map(({ pair, example }) => ({ ...pair, shown: [example.direction, example.kind] }));
  if (query.score && (query.order === "low" || query.order === "high")) {
    const sign = query.order === "low" ? 1 : -1;
    found.sort((one, other) => sign * (one.scores[query.score] - other.scores[query.score]));
  }
  if (!/^[0-9]{0,9}$/.test(query.page ?? "")) throw new Error(`page is not a number: ${query.page}`);
  const start = Number(query.page || 0) * PAGE_PAIRS;
  return { total: found.length, page_size: PAGE_PAIRS, rows: found.slice(start, start + PAGE_PAIRS) };
}

/** The sample in the text that the page was written with. Maps: a key of a dataset's own may be "__proto__". */
export function read(text) {
  if (!text) return null;
  const said = JSON.parse(text), maps = (entries) => new Map(entries);
  return { ...said, pairs: maps(said.pairs), statistics: maps(said.statistics),
    images: maps(said.images.map(([key, roles]) => [key, maps(roles)])) };
}
