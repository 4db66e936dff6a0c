// Workers of Conductor's JavaScript SDK: one that completes, with a line of its log, and one that throws.
// CONDUCTOR_SERVER_URL, CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET come from the environment.
const { orkesConductorClient, TaskManager } = require('@io-orkes/conductor-javascript');

async function complete(task) {
  const { speed } = task.inputData;
  return { status: 'COMPLETED', outputData: { half: speed / 2 }, logs: [{ log: `halving ${speed}` }] };
}

async function fail() {
  throw new Error('never meant to work');
}

async function main() {
  const client = await orkesConductorClient({
    serverUrl: process.env.CONDUCTOR_SERVER_URL,
    keyId: process.env.CONDUCTOR_AUTH_KEY,
    keySecret: process.env.CONDUCTOR_AUTH_SECRET,
  });
  const workers = [
    { taskDefName: 'js_complete', execute: complete },
    { taskDefName: 'js_fail', execute: fail },
  ];
  const options = { pollInterval: 100, concurrency: 2, workerID: 'node' };
  new TaskManager(client, workers, { options }).startPolling();
}

main();
