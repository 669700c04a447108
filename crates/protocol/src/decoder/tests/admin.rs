//! Administrative and statistics commands.

use super::*;

#[track_caller]
fn verb(line: &str, expected: AdminVerb<'_>) {
    for (noreply, end) in [(false, ""), (false, " "), (true, " noreply")] {
        let line = format!("{line}{end}\r\n");
        let admin = Admin { verb: expected, noreply };
        assert_eq!(command(line.as_bytes()), Command::Admin(admin), "{line}");
    }
}

/// A command that does not know `noreply`.
#[track_caller]
fn spoken(line: &str, expected: AdminVerb<'_>) {
    let line = format!("{line} \r\n");
    let admin = Admin { verb: expected, noreply: false };
    assert_eq!(command(line.as_bytes()), Command::Admin(admin), "{line}");
}

#[track_caller]
fn refused_both(line: &str, fault: Fault) {
    refused(format!("{line}\r\n").as_bytes(), fault);
    refused_silently(format!("{line} noreply\r\n").as_bytes(), fault);
}

#[test]
fn simple_commands() {
    for line in ["version", "version x", "version noreply"] {
        spoken(line, AdminVerb::Version);
    }
    for line in ["quit", "quit x", "quit noreply"] {
        spoken(line, AdminVerb::Quit);
    }
    verb("refresh_certs", AdminVerb::RefreshCerts);
    verb("shutdown", AdminVerb::Shutdown { graceful: false });
    verb("shutdown graceful", AdminVerb::Shutdown { graceful: true });
    refused_both("shutdown g", Fault::ShutdownMode);
    verb("verbosity 1", AdminVerb::Verbosity { level: 1 });
    verb("verbosity 99999999999", AdminVerb::Verbosity { level: u32::MAX });
    refused_both("verbosity x", Fault::BadNumber);
    refused_both("verbosity -1", Fault::BadNumber);
    refused_both("verbosity", Fault::MissingArgument);
    verb("cache_memlimit 64", AdminVerb::CacheMemlimit { megabytes: 64 });
    verb("cache_memlimit 10000000000", AdminVerb::CacheMemlimit { megabytes: 10_000_000_000 });
    for bad in ["", " x", " -1"] {
        refused_both(&format!("cache_memlimit{bad}"), Fault::AdminShape);
    }
}

#[test]
fn flushing() {
    verb("flush_all", AdminVerb::FlushAll { delay: Exptime::Never });
    verb("flush_all 0", AdminVerb::FlushAll { delay: Exptime::Never });
    verb("flush_all 10", AdminVerb::FlushAll { delay: Exptime::In(10) });
    verb("flush_all -1", AdminVerb::FlushAll { delay: Exptime::Passed });
    refused_both("flush_all x", Fault::BadExptime);
    refused_both("flush_all 2147483648", Fault::BadExptime);
}

#[test]
fn slabs() {
    let slabs = |line: &str, slabs| verb(&format!("slabs {line}"), AdminVerb::Slabs(slabs));
    slabs("automove 0", Slabs::Automove(0));
    slabs("automove 2", Slabs::Automove(2));
    slabs("automove ratio 0.5", Slabs::AutomoveRatio(0.5));
    slabs("automove freeratio 0.01", Slabs::AutomoveFreeratio(0.01));
    slabs("automove window 3", Slabs::AutomoveWindow(3));
    slabs("automove window 1800", Slabs::AutomoveWindow(1800));
    slabs("reassign -1 0", Slabs::Reassign { source: -1, destination: 0 });
    for bad in ["", " x", " automove", " automove 3", " automove ratio", " automove ratio x"] {
        refused_both(&format!("slabs{bad}"), Fault::AdminShape);
    }
    for bad in [" automove window", " reassign", " reassign 1", " reassign 1 2 3", " auto 1"] {
        refused_both(&format!("slabs{bad}"), Fault::AdminShape);
    }
    for bad in ["automove x", "automove -1", "automove window x", "reassign 1 x"] {
        refused_both(&format!("slabs {bad}"), Fault::BadNumber);
    }
    refused_both("slabs automove window 2", Fault::AutomoveWindow);
    refused_both("slabs automove window 1801", Fault::AutomoveWindow);
    for bad in ["nan", "inf", "-infinity", "1e999"] {
        refused_both(&format!("slabs automove ratio {bad}"), Fault::AdminShape);
    }
}

#[test]
fn lru() {
    let tune =
        |hot_pct, warm_pct| Lru::Tune { hot_pct, warm_pct, hot_factor: 0.1, warm_factor: 2.5 };
    let lru = |line: &str, lru| verb(&format!("lru {line}"), AdminVerb::Lru(lru));
    lru("mode flat", Lru::ModeFlat);
    lru("mode segmented", Lru::ModeSegmented);
    lru("temp_ttl 61", Lru::TempTtl(61));
    lru("temp_ttl -1", Lru::TempTtl(-1));
    lru("tune 40 40 0.1 2.5", tune(40, 40));
    for bad in ["", " x", " mode", " mode x", " mode f", " temp_ttl", " temp_ttl x", " tune"] {
        refused_both(&format!("lru{bad}"), Fault::AdminShape);
    }
    for bad in ["10 10 0.1", "x 10 0.1 0.1", "10 10 x 0.1", "10 10 nan 0.1"] {
        refused_both(&format!("lru tune {bad}"), Fault::AdminShape);
    }
    refused_both("lru tune 40 41 0.1 0.1", Fault::LruShares);
    refused_both("lru tune 4294967295 4294967295 1 1", Fault::LruShares);
    refused_both("lru tune 10 10 0 1", Fault::LruFactors);
    refused_both("lru tune 10 10 1 -1", Fault::LruFactors);
}

#[test]
fn crawler() {
    let crawler = |line: &str, crawler| {
        verb(&format!("lru_crawler {line}"), AdminVerb::LruCrawler(crawler));
    };
    crawler("enable", LruCrawler::Enable);
    crawler("disable", LruCrawler::Disable);
    crawler("sleep 1000000", LruCrawler::Sleep(1_000_000));
    crawler("tocrawl 5", LruCrawler::Tocrawl(5));
    crawler("crawl all", LruCrawler::Crawl(Classes::All));
    crawler("crawl hash", LruCrawler::Crawl(Classes::Hash));
    crawler("crawl 1,2", LruCrawler::Crawl(Classes::List(b"1,2")));
    crawler("metadump all", LruCrawler::Metadump(Classes::All));
    crawler("mgdump hash", LruCrawler::Mgdump(Classes::Hash));
    for bad in ["", " x", " enable x", " sleep", " tocrawl", " crawl", " metadump", " mgdump"] {
        refused_both(&format!("lru_crawler{bad}"), Fault::AdminShape);
    }
    refused_both("lru_crawler sleep x", Fault::BadNumber);
    refused_both("lru_crawler tocrawl -1", Fault::BadNumber);
    refused_both("lru_crawler sleep 1000001", Fault::CrawlerSleep);
}

#[test]
fn class_lists() {
    assert_eq!(Classes::parse_list(b"1"), Some(0b10));
    assert_eq!(Classes::parse_list(b"1,3,63"), Some(1 << 63 | 0b1010));
    assert_eq!(Classes::parse_list(b",1,,1,"), Some(0b10));
    assert_eq!(Classes::parse_list(b","), Some(0));
    for bad in ["0", "64", "x", "1,x", "1 2", "-1", "4294967297"] {
        assert_eq!(Classes::parse_list(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn extstore() {
    for line in ["item_age 5", "free_memchunks 1 5", "max_frag 0.5", "drop_unread 1"] {
        verb(&format!("extstore {line}"), AdminVerb::Extstore);
    }
    for bad in ["", " item_age", " item_age x", " foo 5", " free_memchunks 1", " max_frag x"] {
        refused_both(&format!("extstore{bad}"), Fault::AdminShape);
    }
}

#[test]
fn statistics() {
    let stats = |line: &str, stats| spoken(&format!("stats{line}"), AdminVerb::Stats(stats));
    stats("", Stats::General);
    stats(" items", Stats::Items);
    stats(" slabs", Stats::Slabs);
    stats(" sizes", Stats::Sizes);
    stats(" conns", Stats::Conns);
    stats(" settings", Stats::Settings);
    stats(" extstore", Stats::Extstore);
    stats(" reset", Stats::Reset);
    stats(" reset x", Stats::Reset);
    stats(" detail on", Stats::Detail(Detail::On));
    stats(" detail off", Stats::Detail(Detail::Off));
    stats(" detail dump", Stats::Detail(Detail::Dump));
    stats(" cachedump 63 0", Stats::Cachedump { class: 63, limit: 0 });
    stats(" cachedump 1 99999999999", Stats::Cachedump { class: 1, limit: u32::MAX });
    // No prefixes: `stats r` must not reset.
    for word in ["r", "malloc", "noreply", "proxy", "it"] {
        stats(&format!(" {word}"), Stats::Unknown(word.as_bytes()));
    }
    for bad in ["stats detail", "stats detail o", "stats detail x"] {
        refused(format!("{bad}\r\n").as_bytes(), Fault::StatsDetailUsage);
    }
    refused(b"stats cachedump 1\r\n", Fault::StatsCachedumpArguments);
    refused(b"stats cachedump x 1\r\n", Fault::BadNumber);
    refused(b"stats cachedump 1 x\r\n", Fault::BadNumber);
    refused(b"stats cachedump 64 0\r\n", Fault::StatsIllegalSlab);
}

#[test]
fn watching() {
    spoken("watch", AdminVerb::Watch { streams: b"" });
    spoken("watch fetchers  mutations", AdminVerb::Watch { streams: b"fetchers  mutations" });
    for bad in ["watch x", "watch fetchers x", "watch noreply", "watch fetch"] {
        refused(format!("{bad}\r\n").as_bytes(), Fault::AdminShape);
    }
}

#[test]
fn debug_builds_only() {
    for line in ["debugtime p", "debugitem lock k", "misbehave"] {
        refused(format!("{line}\r\n").as_bytes(), Fault::UnknownCommand);
    }
}
