// What a page does beyond its theme's own script.
"use strict"

const make = (tag, attributes, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes)
  made.append(...children)
  return made
}

// The dialog's name; and what can be scrolled sideways can be reached by keyboard.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search")
const reach = each => {
  if (each.scrollWidth > each.clientWidth) each.tabIndex = 0
  else each.removeAttribute("tabindex")
}
const resized = new ResizeObserver(entries => entries.forEach(({ target }) => reach(target)))
const wide = () => document.querySelectorAll(".table, .drawing, .md-typeset pre, .md-typeset pre > code").forEach(each => {
  reach(each) // the observer would only tell with the next frame
  resized.observe(each)
})
addEventListener("load", wide)
wide()

// Copying a console block takes its commands, without prompts and output.
const commands = text => {
  const lines = text.split("\n")
  const typed = lines.filter((line, place) => line.startsWith("$ ") || (place && /\\$/.test(lines[place - 1])))
  return typed.map(line => line.replace(/^\$ /, "")).join("\n")
}
for (const pre of document.querySelectorAll(".md-typeset .highlight > pre, .md-typeset .highlight td.code pre")) {
  const button = make("button", { className: "copy", type: "button", textContent: "Copy" })
  button.addEventListener("click", async () => {
    const text = pre.querySelector("code").textContent
    await navigator.clipboard.writeText(pre.closest(".language-console") ? commands(text) : text.trimEnd())
    button.textContent = "Copied"
    setTimeout(() => { button.textContent = "Copy" }, 1500)
  })
  pre.parentElement.append(button)
}

// The player of a cast loads when it is asked for; without its style it would be as large as it likes.
const loaded = (kind, what) => new Promise((onload, onerror) => {
  document.head.append(make(kind, { ...what, onload, onerror }))
})
let loading
const player = base => loading ??= Promise.all([
  loaded("link", { rel: "stylesheet", href: `${base}asciinema-player.css` }),
  loaded("script", { src: `${base}asciinema-player.min.js` }),
]).catch(error => {
  loading = null // the next click tries again
  throw error
})
for (const screen of document.querySelectorAll(".cast__screen")) {
  const button = screen.querySelector("button")
  button.addEventListener("click", async () => {
    await player(screen.dataset.player)
    if (!button.isConnected) return // clicked twice
    const { cast, columns, rows } = screen.dataset
    screen.style.height = `${screen.getBoundingClientRect().height}px`
    screen.replaceChildren()
    AsciinemaPlayer.create(cast, screen, {
      autoPlay: true, cols: Number(columns), rows: Number(rows), fit: "width", theme: "massgen",
      terminalFontFamily: getComputedStyle(document.body).getPropertyValue("--mono"),
    })
  })
}
