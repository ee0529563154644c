// The part of the address behind # holds what the page shows, so that each view can be linked to.

/** What the address says, as URLSearchParams. */
export const state = () => new URLSearchParams(location.hash.slice(1));

function changed(changes) {
  const next = state();
  for (const [key, value] of Object.entries(changes)) value === "" ? next.delete(key) : next.set(key, value);
  return next;
}

/** Change what it says; "" takes a name out. With `replace` the step before cannot be gone back to. */
export function move(changes, replace = false) {
  const next = changed(changes);
  if (!replace) { location.hash = next; return; }
  history.replaceState(null, "", `#${next}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** Attributes of a link to the page of a pair. What the address says when it is clicked stays, as filters do. */
export const toPair = (key) => ({ href: `#${changed({ pair: key })}`, onclick: (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;  // a new tab or window
  event.preventDefault();
  move({ pair: key });
} });
