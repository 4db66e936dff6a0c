// Drives npm's iron_worker, unmodified; prints what it got as one JSON object. The place is in IRON_*.
const fs = require('fs');
const { promisify } = require('util');
const { Client, APIClient } = require('iron_worker');

const client = new Client({});
const call = (name, ...given) => promisify(client[name].bind(client))(...given);
// Its own way to upload makes the zip with a library that new versions of Node break; what it sends is this.
const upload = promisify(client.api.codesUpload.bind(client.api));

async function main() {
  const found = {};
  const about = { name: 'NodeHello', file_name: '__runner__.sh', runtime: 'sh', content_type: 'text/plain' };
  const file = { buffer: fs.readFileSync('node.zip'), content_type: 'application/zip' };
  const code = (await upload({ data: JSON.stringify(about), file })).id;
  found.code = [(await call('codesGet', code)).name, (await call('codesList', {})).map((one) => one.id === code)];
  found.revisions = (await call('codesRevisions', code, {})).map((one) => one.rev);

  const task = (await call('tasksCreate', 'NodeHello', { a: 1 }, { priority: 1, label: 'greeting' })).id;
  const over = await call('tasksWaitFor', task, {});
  found.task = [over.status, over.payload, over.priority, over.label];
  found.log = await call('tasksWaitForLog', task, {});
  found.run = await call('tasksRun', 'NodeHello', 'plain text', {});

  const late = (await call('tasksCreate', 'NodeHello', '{}', { delay: 600 })).id;
  found.progress = (await call('tasksSetProgress', late, { percent: 25, msg: 'a quarter' })).msg;
  found.cancelled = [(await call('tasksCancel', late)).msg, (await call('tasksGet', late)).status];
  found.late = [(await call('tasksGet', late)).percent, (await call('tasksGet', late)).msg];
  const again = await call('tasksRetry', late, 600);
  found.retried = again.tasks[0].id !== late && again.tasks[0].id.length;
  found.cancelledAll = (await call('tasksCancelAll', code)).msg;
  found.queued = await call('tasksList', { queued: 1 });

  const schedule = (await call('schedulesCreate', 'NodeHello', {}, { run_every: 3600, start_at: '2099-01-01T12:00:00.000Z' })).id;
  found.schedules = (await call('schedulesList', {})).map((one) => one.id === schedule);
  found.scheduled = (await call('schedulesGet', schedule)).run_every;
  found.unscheduled = [(await call('schedulesCancel', schedule)).msg, (await call('schedulesGet', schedule)).status];

  found.refused = [];
  for (const [name, ...given] of [['tasksGet', '0'.repeat(24)], ['tasksCreate', 'Nobody', '', {}]]) {
    found.refused.push(await call(name, ...given).catch((error) => error.message));
  }
  await call('codesDelete', code);
  found.left = await call('codesList', {});
  console.log(JSON.stringify(found));
}

main().catch((error) => { console.error(error); process.exit(1); });
