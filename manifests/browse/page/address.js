// The part of the address behind # holds what the page shows, so that each view can be linked to.

/** What the address says, as URLSearchParams. */
export const state = () => new URLSearchParams(location.hash.slice(1));

function changed(changes) {
  const next = state();
  for (const [key, value] of Object.entries(changes)) value === "" ? next.delete(key) : next.set(key, value);
  return next;
}

/** The address that `move` would go to, for links. */
export const linked = (changes) => `#${changed(changes)}`;
/** Change what it says; "" takes a name out. With `replace` the step before cannot be gone back to. */
export function move(changes, replace = false) {
  const next = changed(changes);
  if (!replace) { location.hash = next; return; }
  history.replaceState(null, "", `#${next}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
