#ifndef TESTS_CONFORMANCE_CONTRACTS_HPP
#define TESTS_CONFORMANCE_CONTRACTS_HPP
// Our own conversations, in the form of the recorded ones: the requests of Phoenix's integration tests to the lab server
// over WebSockets, and those of its mount for old clients.

namespace conformance {

inline constexpr char const* contracts[] = {
    R"({"name": "suite/version 1: join, events, leave", "vsn": "1.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/websocket","params":{"user_id":"1"},"headers":{"origin":"https://example.com"}},
   "result":{"open":true}},
  {"client":0,"send":{"topic":"room:s","event":"phx_join","payload":{"user":"ann"},"ref":"1","join_ref":"11"}},
  {"client":0,"expect":[
    {"topic":"room:s","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}},
    {"topic":"room:s","event":"user_entered","ref":null,"payload":{"user":"ann"}},
    {"topic":"room:s","event":"joined","ref":null,"payload":{"status":"connected","user_id":"1"}}]},
  {"client":0,"send":{"topic":"room:s","event":"new_msg","payload":{"body":"hi"},"ref":"2","join_ref":"11"}},
  {"client":0,"expect":[
    {"topic":"room:s","event":"phx_reply","ref":"2","payload":{"status":"ok","response":{}}},
    {"topic":"room:s","event":"new_msg","ref":null,"payload":{"body":"hi","transport":":websocket"}}]},
  {"client":0,"send":{"topic":"room:s","event":"phx_leave","payload":{},"ref":"3","join_ref":"11"}},
  {"client":0,"expect_lanes":[
    [{"topic":"room:s","event":"you_left","ref":null,"payload":{"message":"bye!"}}],
    [{"topic":"room:s","event":"phx_reply","ref":"3","payload":{"status":"ok","response":{}}},
     {"topic":"room:s","event":"phx_close","ref":"11","payload":{}}]]},
  {"client":0,"send":{"topic":"room:s","event":"new_msg","payload":{},"ref":"4","join_ref":"11"}},
  {"client":0,"expect":[
    {"topic":"room:s","event":"phx_reply","ref":"4","payload":{"status":"error",
   "response":{"reason":"unmatched topic"}}}]}]})",

    R"({"name": "suite/version 2: a crash", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/admin/websocket"},"result":{"open":true}},
  {"client":0,"send":["11","1","room:s","phx_join",{}]},
  {"client":0,"expect":[
    ["11","1","room:s","phx_reply",{"status":"ok","response":{}}],
    [null,null,"room:s","user_entered",{"user":null}],
    ["11",null,"room:s","joined",{"status":"connected","user_id":null}]]},
  {"client":0,"send":["11","2","room:s","boom",{}]},
  {"client":0,"expect_lanes":[
    [["11",null,"room:s","you_left",{"message":"bye!"}]],
    [["11","11","room:s","phx_error",{"reason":"channel_crash"}]]]},
  {"client":0,"send":["","3","unmatched-topic","phx_join",{}]},
  {"client":0,"expect":[[null,"3","unmatched-topic","phx_reply",{"status":"error",
   "response":{"reason":"unmatched topic"}}]]}]})",

    R"({"name": "suite/version 2: bytes", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/websocket"},"result":{"open":true}},
  {"client":0,"send":["11","1","room:bin","phx_join",{}]},
  {"client":0,"expect":[
    ["11","1","room:bin","phx_reply",{"status":"ok","response":{}}],
    [null,null,"room:bin","user_entered",{"user":null}],
    ["11",null,"room:bin","joined",{"status":"connected","user_id":null}]]},
  {"client":0,"send_binary":"AAIBCAwxMTJyb29tOmJpbmJpbmFyeV9ldmVudAEC"},
  {"client":0,
   "expect":[{"$binary":"AAIIDDExcm9vbTpiaW5iaW5hcnlfZXZlbnQAAQ=="},{"$binary":"AQIBCAIxMTJyb29tOmJpbm9rAQIDBA=="}]},
  {"client":0,"send_binary":"AAIBCAMxMTNyb29tOmJpbmJpbgEC"},
  {"client":0,"expect":[["11",null,"room:bin","bin_ack",{"transport":":websocket"}]]}]})",

    R"({"name": "suite/the custom channel", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/websocket"},"result":{"open":true}},
  {"client":0,"send":["11","1","custom:a","phx_join",{"action":"ok"}]},
  {"client":0,"expect":[["11","1","custom:a","phx_reply",{"status":"ok","response":{"action":"ok"}}]]},
  {"client":0,"send":["12","2","custom:b","phx_join",{"action":"ignore"}]},
  {"client":0,"expect":[["12","2","custom:b","phx_reply",{"status":"error","response":{"action":"ignore"}}]]},
  {"client":0,"send":["11","3","custom:a","close",{}]},
  {"client":0,"expect":[["11","11","custom:a","phx_close",{}]]}]})",

    R"({"name": "suite/the custom channel crashes in join", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/websocket"},"result":{"open":true}},
  {"client":0,"send":["11","1","custom:c","phx_join",{"action":"error","crash":true}]},
  {"client":0,"expect":[["11","1","custom:c","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]]}]})",

    R"({"name": "suite/one channel at /ws/limited", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/limited/websocket"},"result":{"open":true}},
  {"client":0,"send":["11","1","room:a","phx_join",{}]},
  {"client":0,"expect":[
    ["11","1","room:a","phx_reply",{"status":"ok","response":{}}],
    [null,null,"room:a","user_entered",{"user":null}],
    ["11",null,"room:a","joined",{"status":"connected","user_id":null}]]},
  {"client":0,"send":["12","2","room:b","phx_join",{}]},
  {"client":0,"expect":[["12","2","room:b","phx_reply",{"status":"error",
   "response":{"reason":"too many channels joined"}}]]},
  {"client":0,"send":["13","3","custom:c","phx_join",{"action":"ok"}]},
  {"client":0,"expect":[[null,"3","custom:c","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]]}]})",

    R"({"name": "suite/what the server knows about a connection", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/connect_info/websocket","headers":{"X-One":"1","x-two":"2","traceparent":"t",
   "User-Agent":"me"}},
   "result":{"open":true}},
  {"client":0,"send":["11","1","room:a","phx_join",{}]},
  {"client":0,"expect":[
    ["11","1","room:a","phx_reply",{"status":"ok","response":{}}],
    [null,null,"room:a","user_entered",{"user":null}],
    ["11",null,"room:a","joined",{"status":"connected","user_id":null,"connect_info":{
      "x_headers":{"x-one":"1","x-two":"2"},"trace_context_headers":{"traceparent":"t"},"user_agent":"me",
   "signing_salt":"salt",
      "peer_data":{"address":"127.0.0.1","port":{"$any":"number"},"ssl_cert":null},
      "uri":{"scheme":"http","host":"127.0.0.1","port":4000,"path":"/ws/connect_info/websocket","query":"vsn=2.0.0"},
      "sec_websocket_headers":{"sec-websocket-version":"13","sec-websocket-key":{"$any":"string"}}}}]]}]})",

    R"({"name": "suite/refusals", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/websocket","params":{"reject":"true"}},"result":{"status":403,"body":""}},
  {"client":0,"open":{"path":"/ws/websocket","params":{"custom_error":"true"}},"result":{"status":403,"body":""}},
  {"client":0,"open":{"path":"/ws/websocket","params":{"ratelimit":"true"}},"result":{"status":429,
   "body":"Too many requests"}},
  {"client":0,"open":{"path":"/ws/websocket","params":{"vsn":"123.1.1"}},"result":{"status":403,"body":""}},
  {"client":0,"open":{"path":"/ws/websocket","headers":{"origin":"http://notallowed.com"}},"result":{"status":403,
   "body":""}},
  {"client":0,"open":{"path":"/ws"},"result":{"status":404,"body":""}}]})",

    R"({"name": "suite/a frame that is never done with", "vsn": "2.0.0", "clients": 1, "steps": [
  {"client":0,"open":{"path":"/ws/slow/websocket"},"result":{"status":404,"body":""}},
  {"client":0,"lp_open":{"path":"/ws/slow/longpoll","params":{"reject":"true"}},"result":{"status":200,
   "body":{"messages":[],"status":410,"token":{"$any":"string"}},"token":"new"}},
  {"client":0,"lp_poll":{"path":"/ws/slow/longpoll"},"result":{"status":200,
   "body":{"messages":[],"status":204,"token":{"$any":"string"}},"token":"same"}},
  {"client":0,"lp_post":{"path":"/ws/slow/longpoll","frame":["1","1","room:a","phx_join",{}]},"result":{"status":200,
   "body":{"status":408}}}]})",

    R"({"name": "suite/a quiet connection, and one that is disconnected", "vsn": "2.0.0", "clients": 3, "steps": [
  {"client":0,"open":{"path":"/ws/websocket","params":{"user_id":"1001"}},"result":{"open":true}},
  {"client":1,"open":{"path":"/ws/websocket"},"result":{"open":true}},
  {"client":2,"open":{},"result":{"open":true}},
  {"client":2,"send":["1","1","room:z","phx_join",{}]},
  {"client":2,"expect":[["1","1","room:z","phx_reply",{"status":"ok","response":{}}]]},
  {"client":2,"send":["1","2","room:z","relay",{"topic":"user_sockets:1001","event":"disconnect","payload":{}}]},
  {"client":0,"expect":[{"$closed":1001}]},
  {"client":2,"expect":[["1","2","room:z","phx_reply",{"status":"ok","response":{}}]]},
  {"sleep":190},
  {"client":1,"send":[null,"1","phoenix","heartbeat",{}]},
  {"client":1,"expect":[[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]]},
  {"sleep":190},
  {"client":1,"send":[null,"2","phoenix","heartbeat",{}]},
  {"client":1,"expect":[[null,"2","phoenix","phx_reply",{"status":"ok","response":{}}]]},
  {"sleep":200},
  {"client":1,"expect":[{"$closed":1001}]}]})",

    R"({"name": "legacy/a client of 0.10 and one of 1.2", "vsn": null, "clients": 2, "steps": [
  {"client":0,"open":{"path":"/legacy"},"result":{"open":true}},
  {"client":1,"open":{"path":"/legacy/websocket","params":{"vsn":"1.0.0"}},"result":{"open":true}},
  {"client":0,"send":{"topic":"room:l","event":"join","payload":{}}},
  {"client":0,"expect":[{"topic":"room:l","event":"phx_reply","ref":null,"payload":{"status":"ok","response":{},
   "ref":null}}]},
  {"client":1,"send":{"topic":"room:l","event":"phx_join","payload":{},"ref":"7"}},
  {"client":1,"expect":[{"topic":"room:l","event":"phx_reply","ref":"7","payload":{"status":"ok","response":{},"ref":"7"}}]},
  {"client":1,"send":{"topic":"room:l","event":"shout","payload":{"a":1},"ref":"8"}},
  {"client":0,"expect":[{"topic":"room:l","event":"shout","ref":null,"payload":{"a":1}}]},
  {"client":1,"expect":[{"topic":"room:l","event":"shout","ref":null,"payload":{"a":1}}]},
  {"client":1,"send":{"topic":"room:l","event":"stop","payload":{"reason":"normal"},"ref":"9"}},
  {"client":1,"expect":[{"topic":"room:l","event":"phx_close","ref":"7","payload":{}}]},
  {"client":0,"send":{"topic":"room:l","event":"leave","payload":{}}},
  {"client":0,"expect":[
    {"topic":"room:l","event":"phx_reply","ref":null,"payload":{"status":"ok","response":{},"ref":null}},
    {"topic":"room:l","event":"phx_close","ref":null,"payload":{}}]}]})",
};

}  // namespace conformance

#endif
