// What every worker has in common, levels 1 and 2: copy this file, and write the subcommands.
const amqp = require('amqplib');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');

const me = `${require('node:os').hostname()}:${process.pid}`;
const known = new Map(); // message id at level 2 -> promise of [final reply, its number]: each runs once here
const running = new Map(); // correlation id -> AbortController

async function perform(message, subcommands, reply, say) {
  const { headers = {}, correlationId } = message.properties;
  const isLate = headers['x-not-after'] < Date.now() / 1000;
  if (message.fields.redelivered && (isLate || headers['x-idempotent'] !== true)) {
    return { status: headers['x-reworker'] ? 'unknown' : 'failed', message: 'the worker that had it was lost' };
  }
  if (isLate) return { status: 'cancelled', message: 'it came too late to begin' };
  const stop = new AbortController();
  const pause_s = headers['x-heartbeat-s'];
  const beat = pause_s > 0 && setInterval(() => reply({ status: 'running' }), pause_s * 1000);
  running.set(correlationId, stop);
  try {
    const { parameters, parameters: { subcommand } } = JSON.parse(message.content);
    if (!Object.hasOwn(subcommands, subcommand)) throw new Error(`unknown subcommand ${subcommand}`);
    reply({ status: 'started' });
    return { status: 'completed', data: await subcommands[subcommand](parameters, say, stop.signal) };
  } catch (error) {
    return stop.signal.aborted ? { status: 'cancelled' } : { status: 'failed', message: error.message };
  } finally {
    running.delete(correlationId), clearInterval(beat);
  }
}

exports.work = async function work(url, queue, subcommands) {
  let channel, tag, last, isStopping = false;
  const publish = (exchange, key, body, more) => {
    const properties = { persistent: true, contentType: 'application/json', appId: queue, replyTo: 'log', ...more };
    try { channel.publish(exchange, key, Buffer.from(JSON.stringify(body)), properties); } catch { /* the step comes again */ }
  };
  async function handle(message) {
    const { headers = {}, correlationId, replyTo, messageId } = message.properties;
    const own = channel; let count = 0;
    const reply = (body, seq = ++count) => replyTo && publish('', replyTo, body, { correlationId,
      messageId: `${messageId || correlationId}.${me}.${seq}`, headers: { 'x-worker': me, 'x-seq': seq } });
    const say = (line) => publish('re', 'output', { message: line }, { correlationId });
    const id = headers['x-reworker'] === 2 ? messageId : Symbol('steps of level 1 have no id of their own');
    if (!known.has(id)) known.set(id, perform(message, subcommands, reply, say).then((body) => [body, ++count]));
    if (known.size > 1000) known.delete(known.keys().next().value);
    reply(...await known.get(id));
    await own.waitForConfirms(); // only now may the broker forget the step
    own.ack(message);
  }
  async function serve() {
    const connection = await amqp.connect(url);
    const closed = once(connection.on('error', console.error), 'close');
    channel = await connection.createConfirmChannel();
    channel.on('error', console.error).on('close', () => connection.close().catch(() => {}));
    for (const name of ['re', 're.control']) await channel.assertExchange(name, 'topic');
    await channel.assertExchange('re.dead', 'fanout');
    await channel.assertQueue(queue, { deadLetterExchange: 're.dead' });
    await channel.bindQueue(queue, 're', queue);
    const control = (await channel.assertQueue('', { exclusive: true })).queue;
    await channel.bindQueue(control, 're.control', queue.replace('worker', 'cancel'));
    await channel.consume(control, (order) => {
      try { running.get(JSON.parse(order.content).attempt)?.abort(); } catch { /* it is no order */ }
    }, { noAck: true });
    await channel.prefetch(1);
    tag = (await channel.consume(queue, (message) => {
      last = message ? handle(message).catch(console.error) : channel.close(); // no message: the queue is gone
    })).consumerTag;
    console.log(`consuming ${queue}`);
    await closed;
  }
  process.once('SIGTERM', async () => {
    isStopping = true;
    await channel?.cancel(tag).then(() => last).then(() => channel.close()).catch(() => {}); // acks go first
    process.exit();
  });
  for (; !isStopping; await sleep(200 + 800 * Math.random())) await serve().catch((error) => console.error(`${error}`));
};
