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
    if (answer.status < 500 && !answer.ok) return tell("This page may not be renewed any more; load it again.");
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
  const focused = main.contains(document.activeElement) && nameOf(document.activeElement);
  const aside = new Map([...main.querySelectorAll(".scroll")].map((each) => [nameOf(each), each.scrollLeft]));
  main.replaceWith(document.adoptNode(found));
  for (const each of found.querySelectorAll(".scroll")) each.scrollLeft = aside.get(nameOf(each)) ?? 0;
  const same = focused && [...found.querySelectorAll(CHOSEN)].find((each) => nameOf(each) === focused);
  if (same) same.focus({ preventScroll: true });
  document.querySelector("header time").replaceWith(document.adoptNode(page.querySelector("header time")));
  if (!("live" in found.dataset)) tell("Nothing runs any more.");
}

function tell(text) {
  document.getElementById("told").textContent = text;
}

// What a person has chosen is the same in the new contents if it is called the same.
const CHOSEN = "a[href], summary, .scroll, .inside";
function nameOf(one) {
  if (one.localName === "summary") return "summary of " + one.parentElement.querySelector("[id]")?.id;
  return one.id || (one.getAttribute("href") ?? one.getAttribute("aria-label") ?? one.getAttribute("aria-labelledby"));
}

// Where a subtask of the plan was chosen: not every browser opens what is folded up.
function unfold() {
  const chosen = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = chosen && chosen.closest("details");
  if (!folded || folded.open) return;
  folded.open = true;
  chosen.scrollIntoView();
}

addEventListener("hashchange", unfold);
unfold();
setTimeout(look, PAUSE);
