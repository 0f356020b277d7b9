// The second judge: reads simulations from stdin, writes a verdict for each. The package is in the working directory.

import { createRequire } from 'node:module'
import { json } from 'node:stream/consumers'

const { runSimulation } = createRequire(`${process.cwd()}/`)('@cloud-copilot/iam-simulate')

const verdicts = []
for (const simulation of await json(process.stdin)) {
  const outcome = await runSimulation({ serviceControlPolicies: [], resourceControlPolicies: [], ...simulation }, {})
  const results = outcome.results ?? [outcome.result]
  verdicts.push({
    verdict: outcome.overallResult,
    // What AWS does not have: the action, its resource, or a condition of it.
    unknown: outcome.errors ?? results.flatMap((result) => result.ignoredContextKeys),
  })
}
console.log(JSON.stringify(verdicts))
