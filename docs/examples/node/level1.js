// A worker of level 1 for the command frob: node level1.js amqp://guest:guest@localhost worker.frob
// It ends with an error when the connection is lost: have systemd or the like start it again.
const amqp = require('amqplib');
const { setTimeout: sleep } = require('node:timers/promises');

// What is thrown fails the step; say sends a line of output.
async function add({ a, b, seconds = 0 }, say) {
  if (![a, b, seconds].every(Number.isFinite)) throw new Error('a, b and seconds must be numbers');
  say(`adding ${a} and ${b}`);
  await sleep(seconds * 1000);
  if (Math.abs(a + b) > 1000) throw new Error(`${a + b} is over 1000`);
  return { sum: a + b };
}

// perform returns the final reply of a step.
async function perform({ content, fields }, reply, say) {
  if (fields.redelivered) return { status: 'failed', message: 'its worker was lost' };
  try {
    const { parameters } = JSON.parse(content);
    if (parameters.subcommand !== 'add') throw new Error(`unknown subcommand ${parameters.subcommand}`);
    reply({ status: 'started' });
    return { status: 'completed', data: await add(parameters, say) };
  } catch (error) {
    return { status: 'failed', message: error.message };
  }
}

async function main(url, queue) {
  const connection = await amqp.connect(url);
  connection.on('close', () => process.exit(1)); // what it has not acknowledged comes again
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange('re', 'topic');
  await channel.assertExchange('re.dead', 'fanout');
  await channel.assertQueue(queue, { deadLetterExchange: 're.dead' });
  await channel.bindQueue(queue, 're', queue);
  await channel.prefetch(1);
  async function handle(message) {
    const { correlationId, replyTo = '' } = message.properties;
    const send = (exchange, key, body) => {
      const properties = { appId: queue, correlationId, persistent: true, replyTo: 'log' };
      try {
        channel.publish(exchange, key, Buffer.from(JSON.stringify(body)), properties);
      } catch (error) {
        console.error(error); // such as a reply_to that cannot be written
      }
    };
    const reply = (body) => send('', replyTo, body);
    reply(await perform(message, reply, (line) => send('re', 'output', { message: line })));
    await channel.waitForConfirms();
    channel.ack(message);
  }
  let last; // the message that came last, fulfilled when it is acknowledged
  await channel.consume(queue, (message) => { last = handle(message); }, { consumerTag: queue });
  process.once('SIGTERM', async () => {
    await channel.cancel(queue);
    await last;
    await channel.close(); // acknowledgements go first
    process.exit();
  });
  console.log(`consuming ${queue}`);
}

main(...process.argv.slice(2));
