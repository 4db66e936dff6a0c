// The worker of the command frob: node frob.js amqp://guest:guest@localhost worker.frob
const { setTimeout: sleep } = require('node:timers/promises');
const { work } = require('./worker');

const subcommands = {
  // What is thrown fails the step; signal is aborted when the step is cancelled or out of time.
  async add({ a, b, seconds = 0 }, say, signal) {
    if (![a, b, seconds].every(Number.isFinite)) throw new Error('a, b and seconds must be numbers');
    say(`adding ${a} and ${b}`);
    await sleep(seconds * 1000, null, { signal });
    if (a + b > 1000) throw new Error(`${a + b} is over 1000`);
    return { sum: a + b };
  },
};

const [url = 'amqp://guest:guest@localhost', queue = 'worker.frob'] = process.argv.slice(2);
work(url, queue, subcommands);
