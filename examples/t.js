// Keeps Tributary's click id where the shop's server cannot set a cookie: static sites.
//
//   <script src="t.js" async></script>
//
// Safari keeps a cookie that a script sets for 7 days at most, and for 24 hours when a known tracker
// decorated the address. Where your server can set the cookie, let it: docs/webhooks.md shows how.
// Send tributaryClickId() with the order.
(function () {
  var found = /[?&]click_id=([\w-]{44})(?:[&#]|$)/.exec(location.search);
  if (found) {
    document.cookie = 'trb_click=' + found[1] + '; path=/; max-age=2592000; SameSite=Lax' +
      (location.protocol === 'https:' ? '; Secure' : '');
  }
  window.tributaryClickId = function () {
    var kept = /(?:^|; )trb_click=([\w-]{44})(?:;|$)/.exec(document.cookie);
    return kept ? kept[1] : null;
  };
})();
