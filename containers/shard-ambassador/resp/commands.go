package resp

// What follows is Redis 8's COMMAND, sorted by what the commands mean over
// several servers. A number is the arity, the command's name counted: negative
// is at least.

// group is commands of one arity.
type group struct {
	arity int
	names string
}

// oneKey are those whose only key comes first.
var oneKey = []group{
	{-7, `geosearch`},
	{-6, `georadius_ro hexpire hexpireat hpexpire hpexpireat hsetex xautoclaim xclaim`},
	{-5, `geoadd georadiusbymember_ro hexpiretime hgetdel hgetex hpersist hpexpiretime hpttl httl xadd`},
	{-4, `geodist hmset hset restore xack xrange xrevrange xtrim zadd zrange zrangebylex zrangebyscore zrevrange
		zrevrangebylex zrevrangebyscore`},
	{-3, `bitpos expire expireat hdel hmget hscan lpos lpush lpushx pexpire pexpireat rpush rpushx sadd set smismember
		srem sscan xdel xpending xsetid zmscore zrank zrem zrevrank zscan`},
	{-2, `bitcount bitfield bitfield_ro geohash geopos getex hrandfield lpop pfadd rpop spop srandmember zpopmax zpopmin
		zrandmember`},
	{-2, `vadd vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrem vsetattr vsim`},
	{2, `decr dump expiretime get getdel hgetall hkeys hlen hvals incr llen persist pexpiretime pttl scard smembers
		strlen ttl type xlen zcard`},
	{3, `append decrby getbit getset hexists hget hstrlen incrby incrbyfloat lindex setnx sismember zscore`},
	{4, `getrange hincrby hincrbyfloat hsetnx lrange lrem lset ltrim psetex setbit setex setrange substr zcount zincrby
		zlexcount zremrangebylex zremrangebyrank zremrangebyscore`},
	{5, `linsert`},
	// Redis 8.2 and 8.4.
	{2, `digest`},
	{-2, `delex`},
	{-5, `xdelex`},
	{-6, `xackdel`},
	// The modules that come with Redis 8.
	{-2, `json.get json.arrpop json.clear json.debug json.del json.forget json.objkeys json.objlen json.resp json.strlen
		json.toggle json.type json.arrlen bf.card bf.info cf.compact cf.info cms.info tdigest.info tdigest.max
		tdigest.min tdigest.reset tdigest.create topk.info topk.list ts.info ts.get ts.create ts.alter`},
	{-3, `json.strappend bf.add bf.exists bf.insert bf.madd bf.mexists bf.scandump cf.add cf.addnx cf.count cf.del
		cf.exists cf.insert cf.insertnx cf.mexists cf.reserve cf.scandump cms.query tdigest.add tdigest.byrank
		tdigest.byrevrank tdigest.cdf tdigest.quantile tdigest.rank tdigest.revrank topk.add topk.count topk.query
		topk.reserve ts.incrby ts.decrby`},
	{-4, `json.set json.merge json.numincrby json.nummultby json.arrappend json.arrindex json.arrtrim bf.reserve
		bf.loadchunk cf.loadchunk cms.incrby cms.initbydim cms.initbyprob tdigest.trimmed_mean topk.incrby ts.add ts.del
		ts.range ts.revrange`},
	{-5, `json.arrinsert`},
}

// someKeys are those with keys from first to last, each step-th; last counts
// from the end if negative. All must be on one server.
var someKeys = []struct {
	group
	first, last, step int
}{
	{group{-3, `copy lcs`}, 1, 2, 1},
	{group{3, `rename renamenx rpoplpush`}, 1, 2, 1},
	{group{4, `smove`}, 1, 2, 1},
	{group{5, `lmove`}, 1, 2, 1},
	{group{-5, `zrangestore ts.createrule`}, 1, 2, 1},
	{group{3, `ts.deleterule`}, 1, 2, 1},
	{group{-8, `geosearchstore`}, 1, 2, 1},
	{group{-2, `pfcount pfmerge sdiff sinter sunion`}, 1, -1, 1},
	{group{-3, `sdiffstore sinterstore sunionstore`}, 1, -1, 1},
	{group{-3, `msetnx`}, 1, -1, 2},
	{group{-4, `bitop`}, 2, -1, 1},
	{group{-3, `json.mget`}, 1, -2, 1},
	{group{-4, `json.mset ts.madd`}, 1, -1, 3},
}

// special are those whose keys have to be looked for. first is the one that COMMAND tells of, as Redis does: 0 if none
// has a place of its own.
var special = []struct {
	group
	first int
	find  finder
}{
	{group{-3, `eval evalsha eval_ro evalsha_ro fcall fcall_ro`}, 0, counted(2, 0)},
	{group{-3, `zunion zinter zdiff zintercard sintercard`}, 0, counted(1, 0)},
	{group{-4, `lmpop zmpop`}, 0, counted(1, 0)},
	{group{-4, `zunionstore zinterstore zdiffstore`}, 1, counted(2, 1)},
	{group{-4, `cms.merge tdigest.merge`}, 1, counted(2, 1)},
	{group{-4, `xread`}, 0, streams},
	{group{-7, `xreadgroup`}, 0, streams},
	{group{-2, `sort sort_ro`}, 1, sorted},
	{group{-6, `georadius`}, 1, stored},
	{group{-5, `georadiusbymember`}, 1, stored},
	{group{-2, `object xinfo xgroup memory`}, 0, subcommand},
}

// split are those that are taken apart by server.
var split = []struct {
	group
	action Action
	step   int
}{
	{group{-2, `mget`}, SplitGet, 1},
	{group{-3, `mset`}, SplitSet, 2},
	{group{-2, `del unlink touch exists`}, SplitSum, 1},
}

// local are those that are answered here, about the client's own connection.
var local = []group{
	{-1, `ping hello quit command`}, {-2, `auth client`}, {2, `echo select`}, {1, `reset`},
}

// anywhere are those that any server may answer.
var anywhere = []group{{1, `time`}, {-1, `lolwut`}}

// refused are those without a meaning here, and why.
var refused = []struct{ why, names string }{
	{"it blocks, and other clients share the connection", `blpop brpop blmove blmpop brpoplpush bzmpop bzpopmax bzpopmin wait waitaof`},
	{"there are no transactions over shards", `multi exec discard watch unwatch`},
	{"there is no publish and subscribe over shards", `subscribe unsubscribe psubscribe punsubscribe ssubscribe sunsubscribe
		publish spublish pubsub`},
	{"it concerns all keys, which are spread over shards", `keys scan randomkey dbsize flushall flushdb swapdb move migrate
		ft._list ft.aggregate ft.create ft.search ts.mget ts.mrange ts.mrevrange ts.queryindex`},
	{"it concerns a server, and there are several", `acl bgrewriteaof bgsave cluster config debug failover function info lastsave
		latency module monitor pfdebug pfselftest psync replconf replicaof role save script shutdown slaveof slowlog
		sync restore-asking asking readonly readwrite`},
}
