// A worker of level 2 for the command frob: node level2.js amqp://guest:guest@localhost worker.frob
const amqp = require('amqplib');
const { setTimeout: sleep } = require('node:timers/promises');
const [url, queue] = process.argv.slice(2);
const me = `${require('node:os').hostname()}:${process.pid}`;
const ended = new Map(); // message id -> what sends the final reply: each attempt runs once in this process
let channel, step, last = Promise.resolve(); // last is settled when no message is being worked on

// What is thrown fails the step; signal is aborted when the step is cancelled.
async function add({ a, b, seconds = 0 }, say, signal) {
  if (![a, b, seconds].every(Number.isFinite)) throw new Error('a, b and seconds must be numbers');
  say(`adding ${a} and ${b}`);
  await sleep(seconds * 1000, null, { signal });
  if (Math.abs(a + b) > 1000) throw new Error(`${a + b} is over 1000`);
  return { sum: a + b };
}

async function perform({ content, fields, properties: { headers = {}, correlationId } }, reply, say) {
  step = { correlationId, stop: new AbortController() };
  try {
    const isLate = parseFloat(headers['x-not-after']) < Date.now() / 1000;
    const lost = { status: headers['x-reworker'] ? 'unknown' : 'failed', message: 'its worker was lost' };
    if (fields.redelivered && (isLate || headers['x-idempotent'] !== true)) return lost;
    if (isLate) return { status: 'cancelled', message: 'it came too late to begin' };
    const { parameters } = JSON.parse(content);
    if (parameters.subcommand !== 'add') throw new Error(`unknown subcommand ${parameters.subcommand}`);
    reply({ status: 'started' });
    const pause_s = parseFloat(headers['x-heartbeat-s']);
    if (pause_s > 0 && pause_s < 1e6) step.beat = setInterval(reply, pause_s * 1000, { status: 'running' });
    return { status: 'completed', data: await add(parameters, say, step.stop.signal) };
  } catch (error) {
    return step.stop.signal.aborted ? { status: 'cancelled' } : { status: 'failed', message: error.message };
  }
}

async function handle(message, own) {
  const { headers = {}, correlationId, messageId, replyTo = '' } = message.properties;
  const id = (headers['x-reworker'] && messageId) || Symbol('steps of level 1 have none');
  let seq = 0;
  const numbered = () => ({ messageId: crypto.randomUUID(), headers: { 'x-worker': me, 'x-seq': ++seq } });
  const send = async (body, exchange = '', key = replyTo, more = numbered()) => {
    const properties = { appId: queue, correlationId, persistent: true, replyTo: 'log', ...more };
    channel.publish(exchange, key, Buffer.from(JSON.stringify(body)), properties);
  };
  if (!ended.has(id)) {
    const final = await perform(message, send, (line) => send({ message: line }, 're', 'output', {}));
    clearInterval(step.beat);
    ended.set(id, send.bind(null, final, '', replyTo, numbered()));
    if (ended.size > 1000) ended.delete(ended.keys().next().value);
  }
  if (channel === own || headers['x-reworker']) ended.get(id)(); // else a second final reply would follow
  await own.waitForConfirms();
  own.ack(message);
}

async function setup(connection) { // after each connect
  const own = channel = await connection.on('error', console.error).createConfirmChannel();
  own.on('error', console.error).on('close', () => connection.close());
  for (const name of ['re', 're.control']) await own.assertExchange(name, 'topic');
  await own.assertExchange('re.dead', 'fanout');
  await own.assertQueue(queue, { deadLetterExchange: 're.dead' });
  await own.bindQueue(queue, 're', queue);
  const control = (await own.assertQueue('', { exclusive: true })).queue;
  await own.bindQueue(control, 're.control', queue.replace('worker', 'cancel'));
  await own.consume(control, async ({ content }) => {
    if (JSON.parse(content).attempt === step.correlationId) step.stop.abort();
  }, { noAck: true });
  await own.prefetch(1);
  await own.consume(queue, (message) => {
    last = last.then(() => handle(message, own)).catch(() => { own.close(); }); // the step comes again
  }, { consumerTag: queue });
  console.log(`consuming ${queue}`);
}

process.on('unhandledRejection', console.error); // such as of a heartbeat while there is no connection
process.once('SIGTERM', () => Promise.resolve(channel?.cancel(queue)).catch(console.error)
  .then(() => last).then(() => channel?.close()).finally(() => process.exit())); // acknowledgements go first
amqp.connect(url, { recovery: { setup, waitForConnect: false } })
  .then((connection) => connection.on('error', console.error).on('connect-failed', console.error));
