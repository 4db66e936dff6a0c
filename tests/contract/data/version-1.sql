BEGIN TRANSACTION;
CREATE TABLE attempt (
	id VARCHAR(40) NOT NULL, 
	deployment_id VARCHAR(24) NOT NULL, 
	number INTEGER NOT NULL, 
	step_index INTEGER NOT NULL, 
	step TEXT NOT NULL, 
	host TEXT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	tries INTEGER NOT NULL, 
	worker TEXT NOT NULL, 
	message TEXT NOT NULL, 
	percent FLOAT, 
	data TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	sent_at DATETIME, 
	started_at DATETIME, 
	ended_at DATETIME, 
	PRIMARY KEY (id), 
	FOREIGN KEY(deployment_id) REFERENCES deployment (id)
);
INSERT INTO "attempt" VALUES('019b7ca98c888de439cebd8e.1','019b7ca98c888de439cebd8e',1,0,'noop:One','web1','completed',1,'noopworker','',NULL,'null','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000');
INSERT INTO "attempt" VALUES('019b7ca98c888de439cebd8e.2','019b7ca98c888de439cebd8e',2,1,'noop:Two','web1','completed',1,'noopworker','',NULL,'null','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000');
INSERT INTO "attempt" VALUES('019b7ca99070c2aacd6f0b0c.1','019b7ca99070c2aacd6f0b0c',1,0,'noop:One','web1','failed',1,'noopworker','no space left',NULL,'null','2026-01-02 03:04:06.000000','2026-01-02 03:04:06.000000','2026-01-02 03:04:06.000000','2026-01-02 03:04:06.000000');
INSERT INTO "attempt" VALUES('019b7ca99458a8b0a1151605.1','019b7ca99458a8b0a1151605',1,0,'noop:One','web1','started',1,'noopworker','',NULL,'null','2026-01-02 03:04:07.000000','2026-01-02 03:04:07.000000','2026-01-02 03:04:07.000000',NULL);
INSERT INTO "attempt" VALUES('019b7ca99840cae466959e5d.1','019b7ca99840cae466959e5d',1,0,'noop:One','web1','sent',1,'ann','',NULL,'null','2026-01-02 03:04:08.000000','2026-01-02 03:04:08.000000',NULL,NULL);
INSERT INTO "attempt" VALUES('019b7ca99c284d2af0bd29d1.1','019b7ca99c284d2af0bd29d1',1,0,'noop:One','web1','unknown',1,'noopworker','who knows',NULL,'null','2026-01-02 03:04:09.000000','2026-01-02 03:04:09.000000','2026-01-02 03:04:09.000000','2026-01-02 03:04:09.000000');
INSERT INTO "attempt" VALUES('019b7ca9a01000280ef57bbc.1','019b7ca9a01000280ef57bbc',1,0,'noop:One','web1','started',1,'noopworker','',NULL,'null','2026-01-02 03:04:10.000000','2026-01-02 03:04:10.000000','2026-01-02 03:04:10.000000',NULL);
INSERT INTO "attempt" VALUES('019b7ca9a010fff4793bc04a.1','019b7ca9a010fff4793bc04a',1,0,'noop:One','web1','ready',1,'ann','',NULL,'null','2026-01-02 03:04:10.000000',NULL,NULL,NULL);
CREATE TABLE deployment (
	id VARCHAR(24) NOT NULL, 
	playbook_id VARCHAR(24), 
	"group" TEXT NOT NULL, 
	name TEXT NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	version INTEGER NOT NULL, 
	snapshot TEXT NOT NULL, 
	last_seq INTEGER NOT NULL, 
	last_hash VARCHAR(64) NOT NULL, 
	step_count INTEGER NOT NULL, 
	actor TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	idempotency_key VARCHAR(300), 
	request_digest VARCHAR(64), 
	PRIMARY KEY (id), 
	UNIQUE (idempotency_key)
);
INSERT INTO "deployment" VALUES('019b7ca98c888de439cebd8e',NULL,'web','completed','completed',3,'{"id":"019b7ca98c888de439cebd8e","status":"completed","is_unattended":false,"position":2,"tries":0,"attempt_count":2,"attempts":[],"completed_count":2,"failed_count":0,"skipped_count":0,"failure":null,"reason":"","created_at":"2026-01-02T03:04:05Z","started_at":"2026-01-02T03:04:05Z","ended_at":"2026-01-02T03:04:05Z"}',7,'e5f63b730e0693472eae1fd1646dad586c702676a5c8e2e6075dd4c3438220dc',2,'ann','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000','once',NULL);
INSERT INTO "deployment" VALUES('019b7ca99070c2aacd6f0b0c',NULL,'web','failed','failed',2,'{"id":"019b7ca99070c2aacd6f0b0c","status":"failed","is_unattended":false,"position":0,"tries":1,"attempt_count":1,"attempts":[],"completed_count":0,"failed_count":1,"skipped_count":1,"failure":{"step_index":0,"host":"web1","step":"noop:One","attempt":1,"reason":"no space left"},"reason":"no space left","created_at":"2026-01-02T03:04:06Z","started_at":"2026-01-02T03:04:06Z","ended_at":"2026-01-02T03:04:06Z"}',4,'461fde806862de85cc5c37c5c7d4d91ad6e4036b5ff7e9c378bf9d2be71fd5c0',2,'ann','2026-01-02 03:04:06.000000','2026-01-02 03:04:06.000000','2026-01-02 03:04:06.000000',NULL,NULL);
INSERT INTO "deployment" VALUES('019b7ca99458a8b0a1151605',NULL,'web','started','running',2,'{"id":"019b7ca99458a8b0a1151605","status":"running","is_unattended":false,"position":0,"tries":1,"attempt_count":1,"attempts":[{"number":1,"step_index":0,"status":"started","timers":[],"is_unconfirmed":false}],"completed_count":0,"failed_count":0,"skipped_count":0,"failure":null,"reason":"","created_at":"2026-01-02T03:04:07Z","started_at":"2026-01-02T03:04:07Z","ended_at":null}',3,'f39ceee1da798bb47f76343f6c1e5e535d2ea30d97244ec35be63582a0002d44',4,'ann','2026-01-02 03:04:07.000000','2026-01-02 03:04:07.000000',NULL,NULL,NULL);
INSERT INTO "deployment" VALUES('019b7ca99840cae466959e5d',NULL,'web','sent','running',2,'{"id":"019b7ca99840cae466959e5d","status":"running","is_unattended":false,"position":0,"tries":1,"attempt_count":1,"attempts":[{"number":1,"step_index":0,"status":"sent","timers":["queue"],"is_unconfirmed":false}],"completed_count":0,"failed_count":0,"skipped_count":0,"failure":null,"reason":"","created_at":"2026-01-02T03:04:08Z","started_at":"2026-01-02T03:04:08Z","ended_at":null}',2,'e55cd64b29f00f87a44563168f46fe651e72b899d9c7f0747efb06630aeba09b',1,'ann','2026-01-02 03:04:08.000000','2026-01-02 03:04:08.000000',NULL,NULL,NULL);
INSERT INTO "deployment" VALUES('019b7ca99c284d2af0bd29d1',NULL,'web','waiting','waiting',2,'{"id":"019b7ca99c284d2af0bd29d1","status":"waiting","is_unattended":false,"position":0,"tries":1,"attempt_count":1,"attempts":[{"number":1,"step_index":0,"status":"unknown","timers":[],"is_unconfirmed":false}],"completed_count":0,"failed_count":0,"skipped_count":0,"failure":null,"reason":"who knows","created_at":"2026-01-02T03:04:09Z","started_at":"2026-01-02T03:04:09Z","ended_at":null}',4,'7466ffbeb4f872121d55d4e1ed34ffeb5d0b4d2435c37be97efba5da5c3691f6',2,'ann','2026-01-02 03:04:09.000000','2026-01-02 03:04:09.000000',NULL,NULL,NULL);
INSERT INTO "deployment" VALUES('019b7ca9a01000280ef57bbc',NULL,'web','paused','paused',3,'{"id":"019b7ca9a01000280ef57bbc","status":"paused","is_unattended":false,"position":0,"tries":1,"attempt_count":1,"attempts":[{"number":1,"step_index":0,"status":"started","timers":[],"is_unconfirmed":false}],"completed_count":0,"failed_count":0,"skipped_count":0,"failure":null,"reason":"","created_at":"2026-01-02T03:04:10Z","started_at":"2026-01-02T03:04:10Z","ended_at":null}',4,'efc164c2d1d9d74fd0d62517fc962526b87ee2cfc21e242939636afb8b3afde1',2,'ann','2026-01-02 03:04:10.000000','2026-01-02 03:04:10.000000',NULL,NULL,NULL);
INSERT INTO "deployment" VALUES('019b7ca9a010fff4793bc04a',NULL,'web','ready','running',1,'{"id":"019b7ca9a010fff4793bc04a","status":"running","is_unattended":false,"position":0,"tries":1,"attempt_count":1,"attempts":[{"number":1,"step_index":0,"status":"ready","timers":[],"is_unconfirmed":false}],"completed_count":0,"failed_count":0,"skipped_count":0,"failure":null,"reason":"","created_at":"2026-01-02T03:04:10Z","started_at":"2026-01-02T03:04:10Z","ended_at":null}',1,'1cc1704785fd2f47db72646bb1d284c6181bbefbd61da9aa5990f8965dbadc6b',1,'ann','2026-01-02 03:04:10.000000','2026-01-02 03:04:10.000000',NULL,NULL,NULL);
CREATE TABLE event (
	deployment_id VARCHAR(24) NOT NULL, 
	seq INTEGER NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	at DATETIME NOT NULL, 
	actor TEXT NOT NULL, 
	data TEXT NOT NULL, 
	dedup_key VARCHAR(300), 
	ignored TEXT, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (deployment_id, seq), 
	CONSTRAINT event_inbox UNIQUE (dedup_key, deployment_id), 
	FOREIGN KEY(deployment_id) REFERENCES deployment (id)
)
 WITHOUT ROWID

;
INSERT INTO "event" VALUES('019b7ca98c888de439cebd8e',1,'Submitted','2026-01-02 03:04:05.000000','ann','{"actor":"ann","unattended":false}',NULL,NULL,'a691bedf5340e660e98e371c755cee7b7b5e1acb1148bde659e1512db2b8e9e6');
INSERT INTO "event" VALUES('019b7ca98c888de439cebd8e',2,'DispatchConfirmed','2026-01-02 03:04:05.000000','','{"attempt":1}',NULL,NULL,'e27df3fa7ac8d0410ab9a0d37c3e05fc8541104836a3855e9494711c092c1009');
INSERT INTO "event" VALUES('019b7ca98c888de439cebd8e',3,'ReplyStarted','2026-01-02 03:04:05.000000','noopworker','{"attempt":1}','reply-1|8d2e24b6ffa0e3db',NULL,'1ce89debc85bbd890c04410952c35262ad2eebaa0bbab90741603a969981eff5');
INSERT INTO "event" VALUES('019b7ca98c888de439cebd8e',4,'ReplyCompleted','2026-01-02 03:04:05.000000','noopworker','{"attempt":1,"message":"","data":null}','reply-2|6e42fbcf847d9f8a',NULL,'88333a0df753a71cebe4275ae8e832b499e145b66e41e96652c8fb82e9cd0246');
INSERT INTO "event" VALUES('019b7ca98c888de439cebd8e',5,'DispatchConfirmed','2026-01-02 03:04:05.000000','','{"attempt":2}',NULL,NULL,'4718e5cb94d065c729c314285aca436f35df79bde8c009751546e325399db4e9');
INSERT INTO "event" VALUES('019b7ca98c888de439cebd8e',6,'ReplyStarted','2026-01-02 03:04:05.000000','noopworker','{"attempt":2}','reply-3|8d2e24b6ffa0e3db',NULL,'f4262c544a18a57ee7a20642e63c411f92c49286684c1709d1e178ea40560228');
INSERT INTO "event" VALUES('019b7ca98c888de439cebd8e',7,'ReplyCompleted','2026-01-02 03:04:05.000000','noopworker','{"attempt":2,"message":"","data":null}','reply-4|6e42fbcf847d9f8a',NULL,'e5f63b730e0693472eae1fd1646dad586c702676a5c8e2e6075dd4c3438220dc');
INSERT INTO "event" VALUES('019b7ca99070c2aacd6f0b0c',1,'Submitted','2026-01-02 03:04:06.000000','ann','{"actor":"ann","unattended":false}',NULL,NULL,'fee7f9532e980fb23e3d50ee6908bd875bc3b8a37d6fedc74974a20ab6a8a7c4');
INSERT INTO "event" VALUES('019b7ca99070c2aacd6f0b0c',2,'DispatchConfirmed','2026-01-02 03:04:06.000000','','{"attempt":1}',NULL,NULL,'4a3db30283a191bdf3a9329b37e135abf634c40030a5384242bfdf1c1ed8c67c');
INSERT INTO "event" VALUES('019b7ca99070c2aacd6f0b0c',3,'ReplyStarted','2026-01-02 03:04:06.000000','noopworker','{"attempt":1}','reply-5|8d2e24b6ffa0e3db',NULL,'12d7f0c987c9298c0d51f0a1600d07147435a0a8d3d6a2bc2f62a0c1510d3bcb');
INSERT INTO "event" VALUES('019b7ca99070c2aacd6f0b0c',4,'ReplyFailed','2026-01-02 03:04:06.000000','noopworker','{"attempt":1,"message":"no space left","data":null}','reply-6|3d98e4450382e5c7',NULL,'461fde806862de85cc5c37c5c7d4d91ad6e4036b5ff7e9c378bf9d2be71fd5c0');
INSERT INTO "event" VALUES('019b7ca99458a8b0a1151605',1,'Submitted','2026-01-02 03:04:07.000000','ann','{"actor":"ann","unattended":false}',NULL,NULL,'f2230bb3632370272a7473c3f5eb8676b5c2473fdb2cd411dacbc1e1824f050a');
INSERT INTO "event" VALUES('019b7ca99458a8b0a1151605',2,'DispatchConfirmed','2026-01-02 03:04:07.000000','','{"attempt":1}',NULL,NULL,'87ba86d8c543cf14ef7a4df3e21f9bbb178fadd8403b006b143a0b54bd7e0315');
INSERT INTO "event" VALUES('019b7ca99458a8b0a1151605',3,'ReplyStarted','2026-01-02 03:04:07.000000','noopworker','{"attempt":1}','reply-7|8d2e24b6ffa0e3db',NULL,'f39ceee1da798bb47f76343f6c1e5e535d2ea30d97244ec35be63582a0002d44');
INSERT INTO "event" VALUES('019b7ca99840cae466959e5d',1,'Submitted','2026-01-02 03:04:08.000000','ann','{"actor":"ann","unattended":false}',NULL,NULL,'c39c43f314d03c977d5900e7d11504c83b712a22891c8d7391f21c8a19445df2');
INSERT INTO "event" VALUES('019b7ca99840cae466959e5d',2,'DispatchConfirmed','2026-01-02 03:04:08.000000','','{"attempt":1}',NULL,NULL,'e55cd64b29f00f87a44563168f46fe651e72b899d9c7f0747efb06630aeba09b');
INSERT INTO "event" VALUES('019b7ca99c284d2af0bd29d1',1,'Submitted','2026-01-02 03:04:09.000000','ann','{"actor":"ann","unattended":false}',NULL,NULL,'b1e573edde852f52fd4135e686d9d2184476c4190476899fd955c536de529a9c');
INSERT INTO "event" VALUES('019b7ca99c284d2af0bd29d1',2,'DispatchConfirmed','2026-01-02 03:04:09.000000','','{"attempt":1}',NULL,NULL,'a6428becd6a4c705ce316e335a9038073fd8ee6409be2547636c0f39b13fc68f');
INSERT INTO "event" VALUES('019b7ca99c284d2af0bd29d1',3,'ReplyStarted','2026-01-02 03:04:09.000000','noopworker','{"attempt":1}','reply-8|8d2e24b6ffa0e3db',NULL,'eb08cc3416848a78ad2c241e6befa091f487c3a2fab274c53d298435e1cd7349');
INSERT INTO "event" VALUES('019b7ca99c284d2af0bd29d1',4,'ReplyUnknown','2026-01-02 03:04:09.000000','noopworker','{"attempt":1,"reason":"who knows"}','reply-9|08bc83fd2c0662d3',NULL,'7466ffbeb4f872121d55d4e1ed34ffeb5d0b4d2435c37be97efba5da5c3691f6');
INSERT INTO "event" VALUES('019b7ca9a01000280ef57bbc',1,'Submitted','2026-01-02 03:04:10.000000','ann','{"actor":"ann","unattended":false}',NULL,NULL,'ebe840c0186297652ecd9b86abee78f286670a91d9416f8ab657d4471774451a');
INSERT INTO "event" VALUES('019b7ca9a01000280ef57bbc',2,'DispatchConfirmed','2026-01-02 03:04:10.000000','','{"attempt":1}',NULL,NULL,'3d8e4b6b4fe24edb4832fc40d0a42d3959568e914288b4b4e5ecb60513051619');
INSERT INTO "event" VALUES('019b7ca9a01000280ef57bbc',3,'ReplyStarted','2026-01-02 03:04:10.000000','noopworker','{"attempt":1}','reply-10|8d2e24b6ffa0e3db',NULL,'32962a9207cfad0c0bbea811cfc4637085a2d813dfc8cca227d3932d4c8a7f3c');
INSERT INTO "event" VALUES('019b7ca9a01000280ef57bbc',4,'PauseRequested','2026-01-02 03:04:10.000000','ann','{"actor":"ann","reason":""}',NULL,NULL,'efc164c2d1d9d74fd0d62517fc962526b87ee2cfc21e242939636afb8b3afde1');
INSERT INTO "event" VALUES('019b7ca9a010fff4793bc04a',1,'Submitted','2026-01-02 03:04:10.000000','ann','{"actor":"ann","unattended":false}',NULL,NULL,'1cc1704785fd2f47db72646bb1d284c6181bbefbd61da9aa5990f8965dbadc6b');
CREATE TABLE meta (
	name VARCHAR(40) NOT NULL, 
	value TEXT, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('schema_version','1');
CREATE TABLE outbox (
	id VARCHAR(300) NOT NULL, 
	deployment_id VARCHAR(24), 
	kind VARCHAR(10) NOT NULL, 
	attempt INTEGER, 
	exchange VARCHAR(255) NOT NULL, 
	routing_key VARCHAR(255) NOT NULL, 
	properties TEXT NOT NULL, 
	body BLOB NOT NULL, 
	is_idempotent BOOLEAN NOT NULL, 
	claimed_by VARCHAR(100), 
	claim_until DATETIME, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "outbox" VALUES('019b7ca9a010fff4793bc04a.1','019b7ca9a010fff4793bc04a','step',1,'re','worker.noop','{"content_type":"application/json","content_encoding":null,"headers":{"x-reworker":2,"x-attempt":1,"x-idempotent":true,"x-idempotency-key":"019b7ca9a010fff4793bc04a:0","x-fence":0,"x-heartbeat-s":"15.0"},"delivery_mode":2,"priority":null,"correlation_id":"019b7ca9a010fff4793bc04a.1","reply_to":"re.replies","expiration":null,"message_id":"019b7ca9a010fff4793bc04a.1","timestamp":1767323050,"type":null,"user_id":null,"app_id":null,"cluster_id":null}',X'7B2267726F7570223A22776562222C22706172616D6574657273223A7B22636F6D6D616E64223A226E6F6F70222C22737562636F6D6D616E64223A224F6E65222C22686F737473223A5B2277656231225D7D2C2264796E616D6963223A7B7D2C226E6F74696679223A7B7D7D',1,NULL,NULL,'2026-01-02 03:04:10.000000');
CREATE TABLE "plan" (
	deployment_id VARCHAR(24) NOT NULL, 
	"plan" TEXT NOT NULL, 
	PRIMARY KEY (deployment_id), 
	FOREIGN KEY(deployment_id) REFERENCES deployment (id)
);
INSERT INTO "plan" VALUES('019b7ca98c888de439cebd8e','{"group":"web","name":"completed","sequences":[{"hosts":["web1"],"steps":[{"key":"noop:One","command":"noop","subcommand":"One"},{"key":"noop:Two","command":"noop","subcommand":"Two"}],"description":"a sequence","notify":{},"id":""}],"dynamic":{},"is_unattended":false}');
INSERT INTO "plan" VALUES('019b7ca99070c2aacd6f0b0c','{"group":"web","name":"failed","sequences":[{"hosts":["web1"],"steps":[{"key":"noop:One","command":"noop","subcommand":"One"},{"key":"noop:Two","command":"noop","subcommand":"Two"}],"description":"a sequence","notify":{},"id":""}],"dynamic":{},"is_unattended":false}');
INSERT INTO "plan" VALUES('019b7ca99458a8b0a1151605','{"group":"web","name":"started","sequences":[{"hosts":["web1","web2"],"steps":[{"key":"noop:One","command":"noop","subcommand":"One"},{"key":"noop:Two","command":"noop","subcommand":"Two"}],"description":"a sequence","notify":{},"id":""}],"dynamic":{},"is_unattended":false}');
INSERT INTO "plan" VALUES('019b7ca99840cae466959e5d','{"group":"web","name":"sent","sequences":[{"hosts":["web1"],"steps":[{"key":"noop:One","command":"noop","subcommand":"One"}],"description":"a sequence","notify":{},"id":""}],"dynamic":{},"is_unattended":false}');
INSERT INTO "plan" VALUES('019b7ca99c284d2af0bd29d1','{"group":"web","name":"waiting","sequences":[{"hosts":["web1"],"steps":[{"key":"noop:One","command":"noop","subcommand":"One"},{"key":"noop:Two","command":"noop","subcommand":"Two"}],"description":"a sequence","notify":{},"id":""}],"dynamic":{},"is_unattended":false}');
INSERT INTO "plan" VALUES('019b7ca9a01000280ef57bbc','{"group":"web","name":"paused","sequences":[{"hosts":["web1"],"steps":[{"key":"noop:One","command":"noop","subcommand":"One"},{"key":"noop:Two","command":"noop","subcommand":"Two"}],"description":"a sequence","notify":{},"id":""}],"dynamic":{},"is_unattended":false}');
INSERT INTO "plan" VALUES('019b7ca9a010fff4793bc04a','{"group":"web","name":"ready","sequences":[{"hosts":["web1"],"steps":[{"key":"noop:One","command":"noop","subcommand":"One","is_idempotent":true,"on_unknown":"retry"}],"description":"a sequence","notify":{},"id":""}],"dynamic":{},"is_unattended":false}');
CREATE TABLE playbook (
	id VARCHAR(24) NOT NULL, 
	version INTEGER NOT NULL, 
	"group" TEXT NOT NULL, 
	name TEXT NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	text TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (id, version)
);
INSERT INTO "playbook" VALUES('019b7ca98c888ba7a379efc7',1,'web','a playbook','e2dc9571a77be5565ab7dbb826dc4e3e689da83f67a9456318feedd200c74f06','{"group": "web", "name": "a playbook", "execution": [{"description": "a sequence", "hosts": ["web1"], "steps": ["noop:Do"]}]}','ann','2026-01-02 03:04:05.000000');
CREATE TABLE timer (
	deployment_id VARCHAR(24) NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	attempt INTEGER NOT NULL, 
	due_at DATETIME NOT NULL, 
	PRIMARY KEY (deployment_id, kind, attempt)
);
INSERT INTO "timer" VALUES('019b7ca99840cae466959e5d','queue',1,'2026-01-02 03:19:08.000000');
CREATE INDEX deployment_by_status ON deployment (status, id);
CREATE INDEX deployment_by_request ON deployment (request_digest);
CREATE INDEX outbox_by_claim ON outbox (claim_until, created_at);
CREATE INDEX timer_by_due ON timer (due_at);
CREATE UNIQUE INDEX attempt_by_deployment ON attempt (deployment_id, number);
COMMIT;
