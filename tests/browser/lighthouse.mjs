// What Lighthouse says of pages, as a list in JSON: `node lighthouse.mjs CHROMIUM PROFILE URL...`, in one Chromium.
import { launch } from "chrome-launcher"
import lighthouse from "lighthouse"

const [chromePath, userDataDir, ...urls] = process.argv.slice(2)
const chromeFlags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
const chrome = await launch({ chromePath, userDataDir, chromeFlags })
const flags = { port: chrome.port, onlyCategories: ["accessibility", "seo"], disableFullPageScreenshot: true }
// Its scores for speed are noise on a shared machine and are not asked, so nothing has to be waited for.
const settings = { pauseAfterFcpMs: 0, pauseAfterLoadMs: 0, networkQuietThresholdMs: 0, cpuQuietThresholdMs: 0 }
const said = []
for (const url of urls) {
  const { lhr } = await lighthouse(url, flags, { extends: "lighthouse:default", settings })
  const lost = ({ auditRefs }) => auditRefs.filter(({ id, weight }) => weight && lhr.audits[id].score === 0).map(({ id }) => id)
  said.push(Object.fromEntries(Object.values(lhr.categories).map(each => [each.id, { score: each.score, wrong: lost(each) }])))
}
await chrome.kill()
console.log(JSON.stringify(said))
