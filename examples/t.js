// Keeps Tributary's click ids where the shop's server cannot set a cookie: static sites.
//
//   <script src="t.js" async></script>
//
// Safari keeps a cookie that a script sets for 7 days at most, and for 24 hours when a tracker
// decorated the address. Where your server can set it, let it: docs/webhooks.md shows how. Send
// tributaryClickIds() with the order: the last 20, the oldest first.
(function (w, d) {
  var ids = w.tributaryClickIds = function () {
    return (/(?:^|; )trb_path=([\w.-]+)/.exec(d.cookie) || ['', ''])[1].match(/[\w-]{44}/g) || [];
  };
  w.tributaryClickId = function () { return ids().pop() || null; };
  var found = /[?&]click_id=([\w-]{44})(?:[&#]|$)/.exec(location.search), id = found && found[1];
  if (id) {
    d.cookie = 'trb_path=' + ids().filter(function (x) { return x != id; }).concat(id).slice(-20)
      .join('.') + '; path=/; max-age=2592000; SameSite=Lax' +
      (location.protocol == 'https:' ? '; Secure' : '');
  }
})(window, document);
