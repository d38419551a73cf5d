// While a run goes on: ask every two seconds whether there is something new, and if so, take the page's new contents.
// Without this script the page is whole, and as new as when it was loaded.
"use strict";

const PAUSE = 2000; // milliseconds

async function look() {
  const main = document.getElementById("main");
  if (!main || !("live" in main.dataset)) return;
  if (document.hidden) return void setTimeout(look, PAUSE);
  try {
    const query = new URLSearchParams(location.search);
    const answer = await fetch("pulse.json?" + query, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    if ((await answer.json()).pulse !== main.dataset.pulse) await renew(main);
    setTimeout(look, PAUSE);
  } catch {
    // The server is away, or a policy of the page around this forbids to ask it; so not as often.
    setTimeout(look, 5 * PAUSE);
  }
}

async function renew(main) {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.getElementById("main");
  if (!found) return;
  const open = new Set([...main.querySelectorAll("details[open] > [id]")].map((inside) => inside.id));
  for (const inside of found.querySelectorAll("details > [id]")) inside.parentElement.open = open.has(inside.id);
  const focused = document.activeElement && document.activeElement.closest("details, a[href]");
  const place = focused && [...main.querySelectorAll("summary, a[href]")].indexOf(document.activeElement);
  main.replaceWith(document.adoptNode(found));
  if (place > -1 && place !== null) found.querySelectorAll("summary, a[href]")[place]?.focus({ preventScroll: true });
}

setTimeout(look, PAUSE);
