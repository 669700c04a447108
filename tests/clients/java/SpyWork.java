// Real work through spymemcached against the server at HOST PORT, in MODE text or binary.
//
// Prints one line `ok TOPIC: what` for each thing that is as it should be, ends with 1 at the first
// that is not, and says `done` at the very end.

import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import net.spy.memcached.CASResponse;
import net.spy.memcached.CASValue;
import net.spy.memcached.ConnectionFactoryBuilder;
import net.spy.memcached.MemcachedClient;
import net.spy.memcached.transcoders.SerializingTranscoder;

public final class SpyWork {
    private static final int LARGE = 1024 * 1024 - 512;
    private static final int SIZE_MAX = 4 * 1024 * 1024;

    private final MemcachedClient client;
    private final boolean binary;

    private SpyWork(MemcachedClient client, boolean binary) {
        this.client = client;
        this.binary = binary;
    }

    public static void main(String[] words) throws Exception {
        boolean binary = words[2].equals("binary");
        SerializingTranscoder transcoder = new SerializingTranscoder(SIZE_MAX);
        // Compressed, a large value would be a small one.
        transcoder.setCompressionThreshold(SIZE_MAX);
        ConnectionFactoryBuilder builder = new ConnectionFactoryBuilder();
        builder.setProtocol(binary ? ConnectionFactoryBuilder.Protocol.BINARY
                : ConnectionFactoryBuilder.Protocol.TEXT);
        builder.setOpTimeout(10_000).setTranscoder(transcoder);
        InetSocketAddress address = new InetSocketAddress(words[0], Integer.parseInt(words[1]));
        MemcachedClient client = new MemcachedClient(builder.build(), List.of(address));
        try {
            new SpyWork(client, binary).run();
        } catch (Exception error) {
            // The library's own thread would keep the program alive.
            System.out.println("not ok: " + error);
            System.exit(1);
        }
        client.shutdown(5, TimeUnit.SECONDS);
        System.out.println("done");
        System.exit(0);
    }

    private void run() throws Exception {
        basics();
        multiGet();
        cas();
        arithmetic();
        append();
        times();
        large();
        utf8();
        Map<String, String> stats = client.getStats().values().iterator().next();
        check("get", "stats are read", stats.containsKey("pid"), true);
        check("get", "the version too", client.getVersions().size(), 1);
        check("set", "flush", client.flush().get(), true);
        check("get", "has flushed", client.get("kept"), null);
    }

    private static void check(String topic, String what, Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) {
            String both = "got " + shown(got) + ", wanted " + shown(wanted);
            System.out.println("not ok " + topic + ": " + what + ": " + both);
            System.exit(1);
        }
        System.out.println("ok " + topic + ": " + what);
    }

    private static String shown(Object value) {
        String text = String.valueOf(value);
        return text.substring(0, Math.min(200, text.length()));
    }

    private void basics() throws Exception {
        check("set", "a value is stored", client.set("a", 0, "1").get(), true);
        check("get", "it comes back", client.get("a"), "1");
        check("get", "a miss is null", client.get("absent"), null);
        check("set", "add keeps what is there", client.add("a", 0, "2").get(), false);
        boolean replaced = client.replace("absent", 0, "2").get();
        check("set", "replace wants something there", replaced, false);
        check("set", "an empty value", client.set("empty", 0, "").get(), true);
        check("get", "is not a miss", client.get("empty"), "");
        check("set", "an object, with its flags", client.set("long", 0, 42L).get(), true);
        check("get", "is rebuilt", client.get("long"), 42L);
        check("get", "delete says so", client.delete("a").get(), true);
        check("get", "only once", client.delete("a").get(), false);
    }

    private void multiGet() throws Exception {
        Map<String, Object> values = new HashMap<>();
        for (int number = 0; number < 500; number++) {
            values.put("many" + number, "value " + number);
        }
        for (Map.Entry<String, Object> item : values.entrySet()) {
            client.set(item.getKey(), 0, item.getValue());
        }
        boolean sent = client.waitForQueues(10, TimeUnit.SECONDS);
        check("multi-get", "stored without waiting", sent, true);
        check("multi-get", "500 come back", client.getBulk(values.keySet()), values);
        Map<String, Object> mixed = client.getBulk("many1", "absent");
        check("multi-get", "misses are left out", mixed, Map.of("many1", "value 1"));
    }

    private void cas() throws Exception {
        client.set("cas", 0, "old").get();
        CASValue<Object> before = client.gets("cas");
        check("cas", "gets brings the value", before.getValue(), "old");
        long number = before.getCas();
        check("cas", "unchanged: stored", client.cas("cas", number, "new"), CASResponse.OK);
        check("cas", "changed: refused", client.cas("cas", number, "late"), CASResponse.EXISTS);
        CASResponse absent = client.cas("absent", number, "x");
        check("cas", "absent: told apart", absent, CASResponse.NOT_FOUND);
        check("cas", "the winner's value stays", client.get("cas"), "new");
    }

    private void arithmetic() throws Exception {
        client.set("n", 0, "10").get();
        check("incr", "adds", client.incr("n", 5), 15L);
        check("incr", "subtracts", client.decr("n", 7), 8L);
        check("incr", "stops at zero", client.decr("n", 100), 0L);
        check("incr", "a miss is -1", client.incr("absent", 1), -1L);
        check("incr", "creates with a default", client.incr("fresh", 1, 7L), 7L);
        check("incr", "and adds to it", client.incr("fresh", 1), 8L);
    }

    private void append() throws Exception {
        client.set("p", 0, "b").get();
        check("append", "at the end", client.append("p", "c").get(), true);
        check("append", "at the start", client.prepend("p", "a").get(), true);
        check("append", "both are there", client.get("p"), "abc");
        check("append", "absent: not stored", client.append("absent", "x").get(), false);
    }

    private void times() throws Exception {
        int soon = (int) (System.currentTimeMillis() / 1000) + 3;
        client.set("short", 3, "x").get();
        client.set("absolute", soon, "x").get();
        client.set("kept", 3, "x").get();
        client.set("touched", 0, "x").get();
        client.set("gat", 0, "x").get();
        check("expiry", "alive before its time", client.get("short"), "x");
        check("touch", "a shorter life", client.touch("touched", 3).get(), true);
        check("touch", "a longer life", client.touch("kept", 1000).get(), true);
        check("touch", "absent: told", client.touch("absent", 3).get(), false);
        if (binary) {
            // The library knows this command in binary only.
            check("touch", "get and touch reads", client.getAndTouch("gat", 3).getValue(), "x");
        } else {
            client.touch("gat", 3).get();
        }
        Thread.sleep(5000);
        check("expiry", "dead after its time", client.get("short"), null);
        check("expiry", "an absolute time too", client.get("absolute"), null);
        check("touch", "the touched one died", client.get("touched"), null);
        check("touch", "the one read and touched died", client.get("gat"), null);
        check("touch", "the prolonged one lives", client.get("kept"), "x");
    }

    private void large() throws Exception {
        byte[] value = new byte[LARGE];
        for (int at = 0; at < value.length; at++) {
            value[at] = (byte) (at % 251);
        }
        check("large", "just under 1 MiB", client.set("large", 0, value).get(), true);
        byte[] back = (byte[]) client.get("large");
        check("large", "comes back whole", Arrays.equals(back, value), true);
        check("large", "2 MiB are refused", storesHuge(), false);
        check("large", "and the next one is served", client.set("after", 0, "x").get(), true);
        check("large", "in step", client.get("after"), "x");
    }

    private boolean storesHuge() throws Exception {
        try {
            return client.set("large", 0, new byte[2 << 20]).get(10, TimeUnit.SECONDS);
        } catch (ExecutionException | CancellationException error) {
            // In text the library takes a SERVER_ERROR for a broken connection, and reconnects.
            return false;
        }
    }

    private void utf8() throws Exception {
        String key = "\u9375\u30ad\u30fc\u00e9";
        String value = "\u95c2\u3092\u9589\u3081\u308b \ud83d\udd10";
        check("utf-8", "a key and a value", client.set(key, 0, value).get(), true);
        check("utf-8", "come back as they were", client.get(key), value);
        byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
        check("utf-8", "as bytes too", client.set("bytes", 0, bytes).get(), true);
        check("utf-8", "unchanged", Arrays.equals((byte[]) client.get("bytes"), bytes), true);
    }
}
