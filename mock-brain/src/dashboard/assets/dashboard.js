// Keeps the page as the brain is: adds rows to streams, and changes the rows of lists. The server writes them all.
"use strict";

const byId = (id) => document.getElementById(id);

const state = byId("live");
const say = (name, text) => {
    state.dataset.state = name;
    state.textContent = text;
};

// The elements of a piece of HTML, rows of tables included.
const elements = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return [...template.content.children];
};

// Details that somebody opened stay open.
const keepOpen = (from, to) => {
    const opened = from.querySelectorAll("details");
    to.querySelectorAll("details").forEach((details, index) => {
        details.open = opened[index]?.open ?? false;
    });
};

// Changes only the cells that differ, and none that has the focus.
const change = (row, wanted) => {
    keepOpen(row, wanted);
    if (row.className !== wanted.className) row.className = wanted.className;
    const cells = [...row.children];
    [...wanted.children].forEach((cell, index) => {
        const old = cells[index];
        if (!old) row.append(cell);
        else if (old.outerHTML !== cell.outerHTML && !old.contains(document.activeElement)) old.replaceWith(cell);
    });
};

// Makes a list consist of these rows, in their order. Rows are known by their ids.
const setRows = (list, rows) => {
    const wanted = new Set(rows.map((row) => row.id));
    for (const row of [...list.children]) if (!wanted.has(row.id)) row.remove();
    rows.forEach((row, index) => {
        const known = row.id && byId(row.id);
        if (known) change(known, row);
        const placed = known || row;
        if (list.children[index] !== placed) list.insertBefore(placed, list.children[index] ?? null);
    });
};

// Puts rows on top of a stream, and takes as many from its end as are too many.
const addRows = (list, rows) => {
    for (const row of rows.reverse()) {
        if (row.id && byId(row.id)) continue;
        row.classList.add("new");
        list.prepend(row);
    }
    while (list.children.length > Number(list.dataset.most)) list.lastElementChild.remove();
};

const follow = () => {
    const source = new EventSource(`/live?after=${document.body.dataset.after}`);
    source.onopen = () => say("live", "Live");
    source.onerror = () => {
        const ended = source.readyState === EventSource.CLOSED;
        say("lost", ended ? "Ended: open a new link" : "Connection lost, trying again");
    };
    source.onmessage = (message) => {
        document.body.dataset.after = message.lastEventId;
        for (const { to, add, rows } of JSON.parse(message.data)) {
            (add ? addRows : setRows)(byId(to), elements(rows));
        }
    };
    return source;
};

let source = follow();
const pause = byId("pause");
pause.hidden = false;
pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
    source.close();
    if (paused) say("still", "Paused");
    else source = follow();
});

// Without a clipboard (plain HTTP beyond this machine) the text is selected, for Ctrl-C.
const copy = async (button) => {
    const block = byId(button.dataset.copy);
    let done = "Copied";
    try {
        await navigator.clipboard.writeText(block.textContent);
    } catch {
        getSelection().selectAllChildren(block);
        done = "Selected";
    }
    button.textContent = done;
    setTimeout(() => (button.textContent = "Copy"), 2000);
};

for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
}
